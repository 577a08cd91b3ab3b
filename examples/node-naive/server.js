const express = require('express');
const cors = require('cors');
const jwt = require('jsonwebtoken');
const users = require('./users.json');

const { CAF_CLIENT_ID, CAF_CLIENT_SECRET, APP_SECRET, PORT = 3000 } = process.env;

const required = ['CAF_CLIENT_ID', 'CAF_CLIENT_SECRET', 'APP_SECRET', 'ANA_PASSWORD', 'BRUNO_PASSWORD'];
for (const name of required) {
  if (!process.env[name]) {
    console.error(`${name} is not set`);
    process.exit(1);
  }
}

for (const user of users) {
  user.password = process.env[`${user.name.toUpperCase()}_PASSWORD`];
}

const app = express();
app.use(cors({ origin: true, credentials: true }));
app.use(express.json({ limit: '10mb' }));

function requireLogin(req, res, next) {
  try {
    const token = (req.headers.authorization || '').replace('Bearer ', '');
    const session = jwt.verify(token, APP_SECRET);
    req.user = users.find((user) => user.name === session.sub);
    next();
  } catch (err) {
    res.status(401).json({ error: err.message });
  }
}

app.post('/login', (req, res) => {
  const { user: name, password } = req.body;
  const user = users.find((u) => u.name === name);
  if (!user || user.password !== password) {
    return res.status(401).json({ error: 'Invalid user or password' });
  }
  const token = jwt.sign({ sub: user.name }, APP_SECRET, { expiresIn: '15m' });
  res.json({ access_token: token });
});

// Token for the Caf SDK
app.post('/caf/token', requireLogin, (req, res) => {
  const cpf = (req.body && req.body.cpf) || req.user.cpf;
  const payload = {
    iss: CAF_CLIENT_ID,
    peopleId: cpf,
  };
  const token = jwt.sign(payload, CAF_CLIENT_SECRET, { expiresIn: '24h' });
  res.json({ token });
});

// Result of the Caf SDK
app.post('/caf/response', requireLogin, (req, res) => {
  const { signedResponse } = req.body;
  const result = jwt.verify(signedResponse, CAF_CLIENT_SECRET);
  if (!result.isAlive || !result.isMatch) {
    return res.status(403).json({ approved: false, message: result.message });
  }
  res.json({ approved: true });
});

const server = app.listen(PORT, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});

process.stdin.resume().on('end', () => process.exit());
process.on('SIGTERM', () => process.exit());
