// Package seal keeps small secrets, such as those of access keys and peppers, encrypted under a key that is
// elsewhere: in a file, in a systemd credential, or in an HSM that never lets it out.
//
// It is envelope encryption, Tink's: every value gets a fresh data key (AES-256-GCM), and a key-encryption key,
// the KEK, wraps that. Value and data key are both bound to the Record that the value belongs to, so a sealed
// value that somebody moves to another row of the database does not open there.
//
//	kek, err := seal.Open(ctx, seal.Source{Credential: "selo-kek"})
//	keeper, err := seal.NewKeeper(kek)
//	record := seal.Record{Kind: "access key secret", Parts: []string{"sandbox", clientID}}
//	sealed, err := keeper.Seal(ctx, record, secret)
//	secret, err := keeper.Open(ctx, record, sealed)
//
// To change the KEK, give the new one to NewKeeper as current and the old one as previous, call Rewrap for every
// value, and then drop the old one. What Open and Seal saw in memory is wiped where it is in our hands; Tink, the
// garbage collector and the kernel may hold copies.
//
// # A KEK in a file, an environment variable or a systemd credential
//
//	openssl rand -hex 32 > kek && chmod 400 kek
//
// A systemd credential is best where there is no HSM: it may be encrypted under the machine's TPM
// (systemd-creds encrypt --with-key=tpm2 kek kek.cred; LoadCredentialEncrypted=selo-kek:/etc/selo/kek.cred) and no
// other process can read it. An environment variable is the worst: child processes inherit it.
//
// # A KEK in an HSM
//
// It needs a binary with cgo: go build -tags pkcs11. The key is an AES key of 32 bytes that cannot leave the token,
// made once, by whoever administers it:
//
//	pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label selo --login \
//	    --keygen --key-type AES:32 --label selo-kek-1 --sensitive
//
// With SoftHSM, for tests, make the token first: softhsm2-util --init-token --free --label selo. Give every key
// a label of its own.
//
// The token must do CKM_AES_GCM with associated data, which wraps, and CKM_AES_CBC, of which the ID is made. A token
// without them is refused: what could be built of other mechanisms would be a construction of our own. The
// alternative for such a machine is the encrypted systemd credential.
package seal
