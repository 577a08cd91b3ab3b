package checklist

import "github.com/selo-id/selo/internal/finding"

// The catalogues, with their versions.
const (
	asvs  = "OWASP ASVS 5.0.0"
	masvs = "OWASP MASVS 2.1.0"
	api   = "OWASP API Security Top 10 2023"
	cwe   = "CWE"
)

// references are where public catalogues ask for what the probes look for, by the keys that texts name them by. Of OWASP's
// only those are here whose requirement, as it stands in that version, is what a probe finds broken.
func references() map[string]finding.Reference {
	of := func(catalogue, id, url string) finding.Reference {
		return finding.Reference{Catalogue: catalogue, ID: id, URL: url}
	}
	v := func(id, page string) finding.Reference {
		return of(asvs, id, "https://github.com/OWASP/ASVS/blob/v5.0.0/5.0/en/"+page)
	}
	rfc := func(number, section string) finding.Reference {
		return of("RFC "+number, "section "+section, "https://www.rfc-editor.org/rfc/rfc"+number+"#section-"+section)
	}
	m := func(id string) finding.Reference {
		return of(masvs, id, "https://mas.owasp.org/MASVS/controls/"+id+"/")
	}
	a := func(id, page string) finding.Reference {
		return of(api, id, "https://owasp.org/API-Security/editions/2023/en/"+page+"/")
	}
	c := func(number string) finding.Reference {
		return of(cwe, number, "https://cwe.mitre.org/data/definitions/"+number+".html")
	}
	return map[string]finding.Reference{
		"asvs-1.1.1":  v("1.1.1", "0x10-V1-Encoding-and-Sanitization.md#v11-encoding-and-sanitization-architecture"), // decode to a canonical form once, before anything else
		"asvs-1.3.6":  v("1.3.6", "0x10-V1-Encoding-and-Sanitization.md#v13-sanitization"),                           // no server-side request forgery
		"asvs-1.5.3":  v("1.5.3", "0x10-V1-Encoding-and-Sanitization.md#v15-safe-deserialization"),                   // parsers of one type agree
		"asvs-2.2.1":  v("2.2.1", "0x11-V2-Validation-and-Business-Logic.md#v22-input-validation"),                   // input is what is expected
		"asvs-2.2.2":  v("2.2.2", "0x11-V2-Validation-and-Business-Logic.md#v22-input-validation"),                   // validated by the server
		"asvs-2.3.1":  v("2.3.1", "0x11-V2-Validation-and-Business-Logic.md#v23-business-logic-security"),            // one user, in the order of the steps
		"asvs-2.4.1":  v("2.4.1", "0x11-V2-Validation-and-Business-Logic.md#v24-anti-automation"),                    // no excessive calls of costly functions
		"asvs-3.4.2":  v("3.4.2", "0x12-V3-Web-Frontend-Security.md#v34-browser-security-mechanism-headers"),         // CORS by a list of origins
		"asvs-4.1.3":  v("4.1.3", "0x13-V4-API-and-Web-Service.md#v41-generic-web-service-security"),                 // headers of intermediaries are not the user's to set
		"asvs-4.1.4":  v("4.1.4", "0x13-V4-API-and-Web-Service.md#v41-generic-web-service-security"),                 // only supported methods
		"asvs-4.1.5":  v("4.1.5", "0x13-V4-API-and-Web-Service.md#v41-generic-web-service-security"),                 // signatures by message
		"asvs-6.8.2":  v("6.8.2", "0x15-V6-Authentication.md#v68-authentication-with-an-identity-provider"),          // signatures of assertions are there and right
		"asvs-6.8.4":  v("6.8.4", "0x15-V6-Authentication.md#v68-authentication-with-an-identity-provider"),          // strength, method and recentness are verified
		"asvs-7.2.1":  v("7.2.1", "0x16-V7-Session-Management.md#v72-fundamental-session-management-security"),       // tokens are verified by the backend
		"asvs-7.2.2":  v("7.2.2", "0x16-V7-Session-Management.md#v72-fundamental-session-management-security"),       // tokens are generated dynamically, not static
		"asvs-7.4.1":  v("7.4.1", "0x16-V7-Session-Management.md#v74-session-termination"),                           // no use after logout or expiration
		"asvs-8.2.1":  v("8.2.1", "0x17-V8-Authorization.md#v82-general-authorization-design"),                       // functions by explicit permission
		"asvs-8.2.2":  v("8.2.2", "0x17-V8-Authorization.md#v82-general-authorization-design"),                       // data by explicit permission
		"asvs-8.3.1":  v("8.3.1", "0x17-V8-Authorization.md#v83-operation-level-authorization"),                      // decided by the server, not by what a client can change
		"asvs-9.1.1":  v("9.1.1", "0x18-V9-Self-contained-Tokens.md#v91-token-source-and-integrity"),                 // signature before content
		"asvs-9.1.2":  v("9.1.2", "0x18-V9-Self-contained-Tokens.md#v91-token-source-and-integrity"),                 // an allowlist of algorithms
		"asvs-9.1.3":  v("9.1.3", "0x18-V9-Self-contained-Tokens.md#v91-token-source-and-integrity"),                 // keys from configured sources
		"asvs-9.2.1":  v("9.2.1", "0x18-V9-Self-contained-Tokens.md#v92-token-content"),                              // exp and nbf
		"asvs-9.2.2":  v("9.2.2", "0x18-V9-Self-contained-Tokens.md#v92-token-content"),                              // the type, and the purpose
		"asvs-9.2.3":  v("9.2.3", "0x18-V9-Self-contained-Tokens.md#v92-token-content"),                              // the audience
		"asvs-11.1.1": v("11.1.1", "0x20-V11-Cryptography.md#v111-cryptographic-inventory-and-documentation"),        // a shared secret has two holders
		"asvs-11.2.3": v("11.2.3", "0x20-V11-Cryptography.md#v112-secure-cryptography-implementation"),               // 128 bits of security
		"asvs-13.3.4": v("13.3.4", "0x22-V13-Configuration.md#v133-secret-management"),                               // secrets expire and are rotated
		"asvs-14.2.1": v("14.2.1", "0x23-V14-Data-Protection.md#v142-general-data-protection"),                       // nothing sensitive in URLs
		"asvs-14.2.6": v("14.2.6", "0x23-V14-Data-Protection.md#v142-general-data-protection"),                       // no more than the function needs
		"asvs-14.3.2": v("14.3.2", "0x23-V14-Data-Protection.md#v143-client-side-data-protection"),                   // Cache-Control: no-store
		"asvs-15.3.3": v("15.3.3", "0x24-V15-Secure-Coding-and-Architecture.md#v153-defensive-coding"),               // no mass assignment
		"asvs-15.3.5": v("15.3.5", "0x24-V15-Secure-Coding-and-Architecture.md#v153-defensive-coding"),               // the right type, compared strictly
		"asvs-15.3.7": v("15.3.7", "0x24-V15-Secure-Coding-and-Architecture.md#v153-defensive-coding"),               // no parameter pollution
		"asvs-15.4.2": v("15.4.2", "0x24-V15-Secure-Coding-and-Architecture.md#v154-safe-concurrency"),               // check and act in one step
		"asvs-16.5.1": v("16.5.1", "0x25-V16-Security-Logging-and-Error-Handling.md#v165-error-handling"),            // generic messages
		"asvs-16.5.3": v("16.5.3", "0x25-V16-Security-Logging-and-Error-Handling.md#v165-error-handling"),            // fail closed
		"asvs-16.5.4": v("16.5.4", "0x25-V16-Security-Logging-and-Error-Handling.md#v165-error-handling"),            // an error does not end the process

		"masvs-auth-1":    m("MASVS-AUTH-1"),    // secure protocols, enforced by the remote endpoint
		"masvs-auth-3":    m("MASVS-AUTH-3"),    // additional authentication, implemented securely
		"masvs-storage-2": m("MASVS-STORAGE-2"), // nothing sensitive left behind by the system, such as in caches

		"api1":  a("API1", "0xa1-broken-object-level-authorization"),
		"api2":  a("API2", "0xa2-broken-authentication"),
		"api3":  a("API3", "0xa3-broken-object-property-level-authorization"),
		"api4":  a("API4", "0xa4-unrestricted-resource-consumption"),
		"api5":  a("API5", "0xa5-broken-function-level-authorization"),
		"api7":  a("API7", "0xa7-server-side-request-forgery"),
		"api8":  a("API8", "0xa8-security-misconfiguration"),
		"api10": a("API10", "0xaa-unsafe-consumption-of-apis"),

		"rfc4648-3.5":     rfc("4648", "3.5"),     // canonical encoding
		"rfc6585-4":       rfc("6585", "4"),       // 429
		"rfc6750-5.3":     rfc("6750", "5.3"),     // short-lived, and not in URLs
		"rfc7515-2":       rfc("7515", "2"),       // base64url without anything else
		"rfc7515-4.1.1":   rfc("7515", "4.1.1"),   // alg
		"rfc7515-4.1.11":  rfc("7515", "4.1.11"),  // crit
		"rfc7515-5.2":     rfc("7515", "5.2"),     // how a signature is validated
		"rfc7518-3.2":     rfc("7518", "3.2"),     // HMAC, compared as a whole and in constant time
		"rfc7519-2":       rfc("7519", "2"),       // NumericDate
		"rfc7519-4":       rfc("7519", "4"),       // claim names are unique
		"rfc7519-4.1.1":   rfc("7519", "4.1.1"),   // iss
		"rfc7519-4.1.3":   rfc("7519", "4.1.3"),   // aud
		"rfc7519-4.1.4":   rfc("7519", "4.1.4"),   // exp
		"rfc7519-4.1.5":   rfc("7519", "4.1.5"),   // nbf
		"rfc7519-4.1.6":   rfc("7519", "4.1.6"),   // iat, for the age
		"rfc7519-4.1.7":   rfc("7519", "4.1.7"),   // an id, against replay
		"rfc7519-7.2":     rfc("7519", "7.2"),     // the payload is one valid JSON object
		"rfc7519-7.3":     rfc("7519", "7.3"),     // names are compared character by character
		"rfc7519-12":      rfc("7519", "12"),      // say no more than is needed
		"rfc7797-7":       rfc("7797", "7"),       // no JWT has b64 false
		"rfc8259-4":       rfc("8259", "4"),       // names of an object
		"rfc8259-8.1":     rfc("8259", "8.1"),     // UTF-8, and no byte order mark
		"rfc8259-9":       rfc("8259", "9"),       // limits of depth and size
		"rfc8725-3.1":     rfc("8725", "3.1"),     // the algorithm is verified
		"rfc8725-3.2":     rfc("8725", "3.2"),     // none is refused
		"rfc8725-3.3":     rfc("8725", "3.3"),     // every operation must succeed
		"rfc8725-3.5":     rfc("8725", "3.5"),     // keys have entropy
		"rfc8725-3.8":     rfc("8725", "3.8"),     // the key is the issuer's, and the subject is valid
		"rfc8725-3.9":     rfc("8725", "3.9"),     // audience
		"rfc8725-3.10":    rfc("8725", "3.10"),    // kid, jku and x5u are not trusted
		"rfc8725-3.12":    rfc("8725", "3.12"),    // kinds of JWT exclude each other
		"rfc9110-15.5":    rfc("9110", "15.5"),    // 4xx
		"rfc9111-5.2.2.5": rfc("9111", "5.2.2.5"), // no-store
		"rfc9421-7.2.2":   rfc("9421", "7.2.2"),   // a signature can be replayed
		"rfc9457-5":       rfc("9457", "5"),       // errors do not tell how a server is built

		"cwe-176":  c("176"),  // Unicode
		"cwe-178":  c("178"),  // case
		"cwe-201":  c("201"),  // sensitive information in what is sent
		"cwe-209":  c("209"),  // and in errors
		"cwe-235":  c("235"),  // extra parameters
		"cwe-287":  c("287"),  // improper authentication
		"cwe-288":  c("288"),  // by an alternate path or channel
		"cwe-289":  c("289"),  // by an alternate name
		"cwe-290":  c("290"),  // by spoofing
		"cwe-294":  c("294"),  // by capture and replay
		"cwe-306":  c("306"),  // missing authentication
		"cwe-324":  c("324"),  // a key past its expiration
		"cwe-345":  c("345"),  // authenticity
		"cwe-347":  c("347"),  // signatures
		"cwe-348":  c("348"),  // the less trusted source
		"cwe-367":  c("367"),  // time of check, time of use
		"cwe-393":  c("393"),  // the wrong status
		"cwe-436":  c("436"),  // two readers read differently
		"cwe-488":  c("488"),  // one user's data in another's session
		"cwe-525":  c("525"),  // caches
		"cwe-551":  c("551"),  // authorisation before canonicalisation
		"cwe-598":  c("598"),  // queries
		"cwe-613":  c("613"),  // expiration
		"cwe-636":  c("636"),  // failing open
		"cwe-639":  c("639"),  // a key that the user controls
		"cwe-489":  c("489"),  // switches that developers left behind
		"cwe-674":  c("674"),  // recursion
		"cwe-755":  c("755"),  // exceptional conditions
		"cwe-770":  c("770"),  // no limits
		"cwe-799":  c("799"),  // frequency
		"cwe-807":  c("807"),  // untrusted input in a decision
		"cwe-837":  c("837"),  // more than once
		"cwe-915":  c("915"),  // mass assignment
		"cwe-918":  c("918"),  // server-side request forgery
		"cwe-942":  c("942"),  // CORS
		"cwe-1286": c("1286"), // syntax
		"cwe-1287": c("1287"), // type
		"cwe-1391": c("1391"), // weak credentials
	}
}
