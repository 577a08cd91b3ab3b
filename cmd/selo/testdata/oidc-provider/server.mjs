// An identity provider for the tests of cmd/selo: oidc-provider, which nobody here wrote, with the users, clients
// and resources of a bank. oidc_provider_test.go starts it and signs in as a mobile app does.
//
// It listens on a free port of the loopback address, prints its issuer as the first line of standard output, and
// ends when its standard input does, so that no test can leave it behind. Its standard input takes commands, one a
// line, and each is answered with one line:
//
//   alg ES256       signs access tokens with this algorithm from now on: RS256, PS256, ES256 or EdDSA
//   rotate keep     makes new keys and signs with them, and goes on publishing the old ones
//   rotate drop     makes new keys and forgets the old ones
//   count           how often the keys were fetched
//
// SELO_CLIENT_SECRET is the secret of the client that may introspect. Everything else is below.
import { Console } from 'node:console';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Provider, errors } from 'oidc-provider';

globalThis.console = new Console(process.stderr, process.stderr); // standard output is for answers alone
const answer = (line) => process.stdout.write(`${line}\n`);

// The CPFs are those of sandbox.DemoUsers, of no person.
const users = {
  ana: { password: 'the password of ana', cpf: '52998224725' },
  bruno: { password: 'the password of bruno', cpf: '11144477735' },
};

// What a token can be asked for (RFC 8707), and the aud that it then has.
const resources = {
  'urn:bank:app': { audience: 'bank-app', accessTokenFormat: 'jwt' },
  'urn:bank:app-opaque': { audience: 'bank-app-opaque', accessTokenFormat: 'opaque' },
  'urn:bank:another-app': { audience: 'another-app', accessTokenFormat: 'jwt' },
};

let alg = 'RS256'; // of access tokens; ID tokens are always RS256
let fetches = 0; // of the keys
let keys = newKeys();
let provider;

// newKeys makes one private key for each algorithm.
function newKeys() {
  const kinds = {
    RS256: ['rsa', { modulusLength: 2048 }],
    PS256: ['rsa', { modulusLength: 2048 }],
    ES256: ['ec', { namedCurve: 'P-256' }],
    EdDSA: ['ed25519'],
  };
  return Object.entries(kinds).map(([name, how]) => ({
    ...generateKeyPairSync(...how).privateKey.export({ format: 'jwk' }), alg: name, use: 'sig', kid: randomUUID(),
  }));
}

// newProvider makes a provider with the keys of now; of several for one algorithm the first signs. Sessions, grants
// and opaque tokens are in the library's memory, which all providers of a process share.
function newProvider(issuer) {
  const made = new Provider(issuer, {
    jwks: { keys },
    cookies: { keys: ['of no use to anyone'] },
    clients: [{
      client_id: 'bank-mobile',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['com.bank.app:/cb'],
    }, {
      client_id: 'selo',
      client_secret: process.env.SELO_CLIENT_SECRET,
      token_endpoint_auth_method: 'client_secret_basic',
      grant_types: [], response_types: [], redirect_uris: [], // it signs nobody in
    }],
    pkce: { required: () => true },
    findAccount: (ctx, id) => users[id] && { accountId: id, claims: () => ({ sub: id }) },
    // How and when somebody signed in is remembered with the code.
    extraTokenClaims: (ctx, token) => {
      const { acr, amr, authTime } = ctx.oidc.entities.AuthorizationCode;
      return { cpf: users[token.accountId].cpf, acr, amr, auth_time: authTime };
    },
    ttl: { AccessToken: 3600, AuthorizationCode: 60, Grant: 3600, IdToken: 3600, Interaction: 600, Session: 3600 },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === 'selo' },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => {
          if (!resources[resource]) throw new errors.InvalidTarget();
          return { ...resources[resource], scope: 'verify', jwt: { sign: { alg } } };
        },
      },
    },
  });
  made.on('server_error', (ctx, err) => console.error(err));
  return made;
}

// interact shows and takes the two forms of a login: who somebody is, and whether the app may.
async function interact(req, res) {
  const { prompt, params, session } = await provider.interactionDetails(req, res);
  if (req.method !== 'POST') {
    const fields = prompt.name === 'login' ? '<input name="user"><input name="password" type="password">' : '';
    res.setHeader('Content-Type', 'text/html; charset=utf-8');
    res.end(`<!doctype html><title>${prompt.name}</title><form method="post" action="${req.url}">${fields}<button>Go on</button></form>`);
    return;
  }
  let body = '';
  for await (const chunk of req) body += chunk;
  const form = new URLSearchParams(body);
  if (prompt.name === 'login') {
    const user = form.get('user');
    if (!users[user] || users[user].password !== form.get('password')) {
      res.writeHead(403).end('wrong user or password');
      return;
    }
    await provider.interactionFinished(req, res, { login: { accountId: user, acr: 'urn:bank:password', amr: ['pwd'] } });
    return;
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(prompt.details.missingOIDCScope?.join(' ') ?? '');
  for (const [resource, scopes] of Object.entries(prompt.details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '));
  }
  await provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } });
}

const commands = {
  alg: (name) => { alg = name; },
  rotate: (old) => {
    keys = old === 'keep' ? [...newKeys(), ...keys] : newKeys();
    provider = newProvider(provider.issuer);
  },
  count: () => fetches,
};

const server = createServer((req, res) => {
  if (req.url === '/jwks') fetches += 1;
  if (!req.url.startsWith('/interaction/')) return provider.callback()(req, res);
  return interact(req, res).catch((err) => { console.error(err); res.writeHead(500).end(); });
});
server.listen(0, '127.0.0.1', () => {
  provider = newProvider(`http://127.0.0.1:${server.address().port}`);
  answer(provider.issuer);
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      const [name, argument] = line.split(' ');
      answer(commands[name](argument) ?? 'ok');
    })
    .on('close', () => process.exit(0));
});
