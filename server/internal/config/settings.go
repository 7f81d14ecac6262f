package config

import (
	"log/slog"
	"time"
)

// Config is the server's settings, checked and typed. Its tags describe them:
//
//	section        title of the group that starts here
//	env            the key
//	doc            one sentence or more, with units
//	default        the value when nothing is set; none means empty
//	outside_trial  the default in the staging and production profiles
//	example        a value to show in .env.example where there is no default
//	min, max       inclusive range of a number or a duration
//	oneof          the allowed words
//	check          the name of a check in checks.go
//	secret         "key": strong and generated; "url": may hold a password
//	required       "outside_trial": must be set in staging and production
//	only, because  the one value that this build can honour, and why
//	reserved       known, but its feature is not in this build
//
// The last fields, not in effect yet, are in Later.
type Config struct {
	Profile   Profile `section:"What this installation is for" env:"SENTINEL_PROFILE" default:"trial" oneof:"trial,staging,production" doc:"How strict the server is: trial makes its own secrets and schema, staging and production take nothing on trust."`
	FleetName string  `env:"SENTINEL_FLEET_NAME" default:"Sentinel fleet" check:"title" doc:"The name of the fleet that people see."`
	DataDir   string  `env:"SENTINEL_DATA_DIR" default:"./sentinel-data" check:"path" doc:"The directory for what the server keeps outside the database; outside the trial profile an absolute path."`

	DatabaseURL               Secret `section:"Database" env:"SENTINEL_DATABASE_URL" secret:"url" check:"database-url" example:"postgres://sentinel@db.example.com:5432/sentinel?sslmode=verify-full" doc:"The PostgreSQL database; empty means SQLite in the file sentinel.db of the data directory."`
	DatabaseRequirePostgreSQL bool   `env:"SENTINEL_DATABASE_REQUIRE_POSTGRESQL" default:"false" outside_trial:"true" doc:"Refuse to run on SQLite. Production always requires PostgreSQL."`
	AutoCreateSchemaOnBoot    bool   `env:"SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT" default:"true" outside_trial:"false" doc:"Bring the schema up to date at every start instead of by 'sentinel-server migrate up'. Refused in production."`
	DatabaseMaxConns          int    `env:"SENTINEL_DATABASE_MAX_CONNS" default:"16" min:"2" max:"500" doc:"The most connections that this process opens to PostgreSQL."`

	PeopleListen      string   `section:"Addresses" env:"SENTINEL_PEOPLE_LISTEN" default:"127.0.0.1:8080" check:"listen" doc:"Where the admin API listens, host:port. Beyond loopback TLS is needed."`
	PeopleURL         string   `env:"SENTINEL_PEOPLE_URL" check:"url" example:"https://console.example.com" doc:"How people reach it. Empty means the first of SENTINEL_MACHINE_NAMES with the port of SENTINEL_PEOPLE_LISTEN."`
	PeopleTLSCertFile string   `env:"SENTINEL_PEOPLE_TLS_CERT_FILE" check:"path" example:"/etc/sentinel/console.crt" doc:"The certificate chain (PEM file) for SENTINEL_PEOPLE_LISTEN; empty means plain HTTP."`
	PeopleTLSKeyFile  string   `env:"SENTINEL_PEOPLE_TLS_KEY_FILE" check:"path" example:"/etc/sentinel/console.key" doc:"The private key (PEM file, mode 0600) of that certificate."`
	AllowedOrigins    []string `env:"SENTINEL_ALLOWED_ORIGINS" check:"origins" example:"https://dashboard.example.com" doc:"Origins, besides the console's own, whose scripts may call the admin API, separated by commas. A lone * allows any, and is refused in production."`
	MachineListen     string   `env:"SENTINEL_MACHINE_LISTEN" default:"127.0.0.1:8443" check:"listen" doc:"Where devices connect, host:port. Always TLS with client certificates."`
	MachineNames      []string `env:"SENTINEL_MACHINE_NAMES" default:"localhost,127.0.0.1" check:"names" doc:"DNS names and IP addresses in the server's own certificate, separated by commas."`
	MachineURL        string   `env:"SENTINEL_MACHINE_URL" check:"https-url" example:"https://devices.example.com:8443" doc:"How devices reach it. Empty means the first of SENTINEL_MACHINE_NAMES with the port of SENTINEL_MACHINE_LISTEN."`

	TrustProxyCertHeaders bool     `section:"Reverse proxy: where NGINX ends TLS; see docs/reverse-proxy.md" env:"SENTINEL_TRUST_PROXY_CERT_HEADERS" default:"false" doc:"Listen on SENTINEL_PROXY_LISTEN, and believe there what the proxy says of a client's certificate and address. It is believed nowhere else, and while this is false nowhere at all."`
	ProxyListen           string   `env:"SENTINEL_PROXY_LISTEN" check:"proxy-listen" example:"unix:/run/sentinel-proxy/machines.sock" doc:"Where the proxy brings what devices send: a Unix socket (unix:/path), or host:port with SENTINEL_PROXY_SECRET."`
	ProxyPeopleListen     string   `env:"SENTINEL_PROXY_PEOPLE_LISTEN" check:"proxy-listen" example:"unix:/run/sentinel-proxy/people.sock" doc:"Where it brings what people send, in the same form. Empty means that the console is not behind it."`
	ProxyUsers            []string `env:"SENTINEL_PROXY_USERS" check:"users" example:"www-data" doc:"The users, by name or number and separated by commas, as which the proxy connects to a Unix socket. Nobody else gets through."`
	ProxySecret           Secret   `env:"SENTINEL_PROXY_SECRET" secret:"key" check:"header-token" doc:"What the proxy proves itself by on host:port."`
	ProxySecretPrevious   Secret   `env:"SENTINEL_PROXY_SECRET_PREVIOUS" secret:"key" check:"header-token" doc:"The value before the last change of SENTINEL_PROXY_SECRET; it is taken too, until the proxy has the new one."`

	SecretKey            Secret `section:"Secrets: in the trial profile the server makes those that are missing, in its data directory" env:"SENTINEL_SECRET_KEY" secret:"key" required:"outside_trial" doc:"Seals the private keys and other sensitive values that the server stores."`
	SecretKeyPrevious    Secret `env:"SENTINEL_SECRET_KEY_PREVIOUS" secret:"key" doc:"The value before the last change of SENTINEL_SECRET_KEY; it opens, but never seals."`
	JWTSecret            Secret `env:"SENTINEL_JWT_SECRET" secret:"key" required:"outside_trial" doc:"Signs the tokens of people who are signed in."`
	JWTSecretPrevious    Secret `env:"SENTINEL_JWT_SECRET_PREVIOUS" secret:"key" doc:"The value before the last change of SENTINEL_JWT_SECRET; it verifies, but never signs."`
	MetricsToken         Secret `env:"SENTINEL_METRICS_TOKEN" secret:"key" required:"outside_trial" doc:"The bearer token that monitoring presents to /metrics."`
	MetricsTokenPrevious Secret `env:"SENTINEL_METRICS_TOKEN_PREVIOUS" secret:"key" doc:"The value before the last change of SENTINEL_METRICS_TOKEN; it is taken too, until monitoring presents the new one."`

	TrustDomain                string        `section:"Devices" env:"SENTINEL_TRUST_DOMAIN" default:"sentinel.internal" check:"trust-domain" doc:"The SPIFFE trust domain in the names of device certificates. Changing it later means enrolling again."`
	DeviceCertLifetime         time.Duration `env:"SENTINEL_DEVICE_CERT_LIFETIME" default:"168h" min:"5s" max:"2160h" doc:"How long a device certificate is valid; below 1h only in the trial profile."`
	HeartbeatInterval          time.Duration `env:"SENTINEL_HEARTBEAT_INTERVAL" default:"60s" min:"100ms" max:"1h" doc:"How often a device is asked to report; below 5s only in the trial profile."`
	HeartbeatBatchWindow       time.Duration `env:"SENTINEL_HEARTBEAT_BATCH_WINDOW" default:"3ms" min:"0s" max:"1s" doc:"How long a heartbeat may wait for others to be committed with it; 0s means not at all."`
	HeartbeatBatchSize         int           `env:"SENTINEL_HEARTBEAT_BATCH_SIZE" default:"256" min:"1" max:"4096" doc:"The most heartbeats committed together."`
	RequireNewDeviceApproval   bool          `env:"SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL" default:"true" doc:"A new device waits until a person approves it. Refused as false in production, where an enrollment window can be opened for a time."`
	RequireRotationApproval    bool          `env:"SENTINEL_REQUIRE_ROTATION_APPROVAL" default:"false" doc:"A person approves each renewal of a device's certificate, not only those of sensitive devices. A device whose certificate has expired is always reviewed."`
	RequireCertCommonNameMatch bool          `env:"SENTINEL_REQUIRE_CERT_COMMON_NAME_MATCH" default:"true" doc:"The common name of a device certificate must equal its device_id. This server's own certificates always have it; false is for those of another authority."`
	RequireDeviceMTLS          bool          `env:"SENTINEL_REQUIRE_DEVICE_MTLS" default:"true" only:"true" because:"its certificate is the only proof of a device's identity" doc:"A device must present its certificate."`
	EnrollmentReviewTTL        time.Duration `env:"SENTINEL_ENROLLMENT_REVIEW_TTL" default:"72h" min:"1s" max:"720h" doc:"How long an enrollment waits for its review before it lapses."`
	MaxPendingEnrollments      int           `env:"SENTINEL_MAX_PENDING_ENROLLMENTS" default:"1000" min:"1" max:"100000" doc:"The most enrollments that may wait for a review at once."`

	DeviceCA               string        `section:"Devices with certificates of another authority" env:"SENTINEL_DEVICE_CA" default:"internal" oneof:"internal,external" doc:"Which authority issues to new devices: this server's own, or another one, whose certificates are let in by a review of the first heartbeat."`
	ExternalCAFiles        []string      `env:"SENTINEL_EXTERNAL_CA_FILES" check:"path" example:"/etc/sentinel/device-ca.pem" doc:"The authorities that issue to devices (PEM files, separated by commas); only certificates that one of these signed itself are believed."`
	ExternalCARootFiles    []string      `env:"SENTINEL_EXTERNAL_CA_ROOT_FILES" check:"path" example:"/etc/sentinel/device-root.pem" doc:"What lies above them, up to the root (PEM files). The whole path is verified then; empty means that the issuing authorities are believed themselves."`
	ExternalCAUsages       []string      `env:"SENTINEL_EXTERNAL_CA_USAGES" default:"client-auth" check:"usages" doc:"The extended key usages that a certificate must list, separated by commas: client-auth, or object identifiers."`
	ExternalCAName         string        `env:"SENTINEL_EXTERNAL_CA_NAME" default:"cn" oneof:"cn,dns,uri" doc:"Where the device_id is: in the common name, in the one DNS name, or in the one URI of the subject alternative names."`
	ExternalCANamePattern  string        `env:"SENTINEL_EXTERNAL_CA_NAME_PATTERN" check:"name-pattern" example:"{device_id}.devices.example.com" doc:"The whole DNS name or URI, with {device_id} in it once; empty means the device_id alone. A URI needs one."`
	RevocationLists        []string      `env:"SENTINEL_REVOCATION_LISTS" check:"sources" example:"https://ca.example.com/devices.crl" doc:"The revocation lists (CRLs) of those authorities: files or URLs, separated by commas."`
	RevocationResponder    string        `env:"SENTINEL_REVOCATION_RESPONDER" check:"responder" example:"aia" doc:"The OCSP responder to ask: a URL, or aia for the one that each certificate names. With lists too, both must say that a certificate is good."`
	RevocationInterval     time.Duration `env:"SENTINEL_REVOCATION_INTERVAL" default:"5m" min:"1s" max:"24h" doc:"How often lists are fetched and responders are asked anew: a revoked certificate is refused within it."`
	RevocationGrace        time.Duration `env:"SENTINEL_REVOCATION_GRACE" default:"0s" min:"0s" max:"72h" doc:"How much longer than it holds a list or an answer is relied on when no newer one can be had; 0s lets nobody in then."`
	RevocationRequireNonce bool          `env:"SENTINEL_REVOCATION_REQUIRE_NONCE" default:"true" doc:"An OCSP answer must repeat the nonce of its question. Responders that make answers in advance need false."`
	RevocationPrivate      bool          `env:"SENTINEL_REVOCATION_PRIVATE_ADDRESSES" default:"false" doc:"A responder that a certificate names, and a redirect, may be at a private address too. What the settings name always may."`

	DualApprovalCommands     People        `section:"Approvals: how many people, beside whoever asks. A lower number than the one in force takes effect only once people approved it" env:"SENTINEL_DUAL_APPROVAL_COMMANDS" default:"0" outside_trial:"1" min:"0" max:"9" doc:"How many people approve a command; 0 (or false) lets it go out at once, true means 1."`
	DualApprovalCertificates int           `env:"SENTINEL_DUAL_APPROVAL_CERTIFICATES" default:"1" min:"1" max:"9" doc:"How many people approve the enrollment of a sensitive device, or that a suspension ends."`
	DualApprovalIdentity     int           `env:"SENTINEL_DUAL_APPROVAL_IDENTITY" default:"1" min:"1" max:"9" doc:"How many people approve another key of a device, or that a device is released after its counter went back."`
	ApprovalDelay            time.Duration `env:"SENTINEL_APPROVAL_DELAY" default:"0s" outside_trial:"10m" min:"0s" max:"168h" doc:"How long after its approval a change of who may approve takes effect; until then whoever may vote on it can cancel it."`
	ApprovalFreshSignIn      time.Duration `env:"SENTINEL_APPROVAL_FRESH_SIGN_IN" default:"0s" outside_trial:"1h" min:"0s" max:"24h" doc:"How long ago the sign-in of a person who approves may be; 0s means any session will do."`

	SignerCommand                   KeySource     `section:"Signing keys: file:PATH, or exec:PROGRAM ARGUMENTS for a program that signs and keeps the key to itself (see docs/signers.md)" env:"SENTINEL_SIGNER_COMMAND" check:"key-source" example:"exec:/usr/bin/sentinel-pkcs11 --module /usr/lib/softhsm/libsofthsm2.so --token sentinel --key command --pin-file /etc/sentinel/pin" doc:"The key that signs commands; none means that this server signs none. Empty means the file keys/command.key of the data directory, made when it is missing."`
	SignerCommandPrevious           KeySource     `env:"SENTINEL_SIGNER_COMMAND_PREVIOUS" check:"some-source" example:"file:/etc/sentinel/keys/command.key" doc:"The key before that one: it signs until the policy bundle in force lists the new one."`
	SignerDeviceCA                  KeySource     `env:"SENTINEL_SIGNER_DEVICE_CA" check:"some-source" example:"exec:/usr/bin/sentinel-pkcs11 --module /usr/lib/softhsm/libsofthsm2.so --token sentinel --key device-ca --pin-file /etc/sentinel/pin" doc:"The ECDSA key of the next authority that issues to devices. Empty means that the server makes it and keeps it in the database, sealed with SENTINEL_SECRET_KEY."`
	SignerDeviceCAPrevious          KeySource     `env:"SENTINEL_SIGNER_DEVICE_CA_PREVIOUS" check:"some-source" example:"file:/etc/sentinel/keys/device-ca.key" doc:"The key before that one: what is revoked of its certificates is told with it until the authority is dropped."`
	SignerServerCA                  KeySource     `env:"SENTINEL_SIGNER_SERVER_CA" check:"some-source" example:"file:/etc/sentinel/keys/server-ca.key" doc:"The same for the authority of the server's own names."`
	SignerServerCAPrevious          KeySource     `env:"SENTINEL_SIGNER_SERVER_CA_PREVIOUS" check:"some-source" example:"file:/etc/sentinel/keys/server-ca-before.key" doc:"The key before that one."`
	SignerTrustAssertion            KeySource     `env:"SENTINEL_SIGNER_TRUST_ASSERTION" check:"some-source" example:"file:/etc/sentinel/keys/trust-assertion.key" doc:"The newest key for trust assertions, as 'sentinel-server keys rotate' publishes it. This version publishes the key and issues no assertion yet."`
	SignerTrustAssertionPrevious    KeySource     `env:"SENTINEL_SIGNER_TRUST_ASSERTION_PREVIOUS" check:"some-source" example:"file:/etc/sentinel/keys/trust-assertion-before.key" doc:"The key before that one: it signs until the new one was published for long enough."`
	SignerWorkloadAssertion         KeySource     `env:"SENTINEL_SIGNER_WORKLOAD_ASSERTION" check:"some-source" example:"file:/etc/sentinel/keys/workload-assertion.key" doc:"The same for workload assertions."`
	SignerWorkloadAssertionPrevious KeySource     `env:"SENTINEL_SIGNER_WORKLOAD_ASSERTION_PREVIOUS" check:"some-source" example:"file:/etc/sentinel/keys/workload-assertion-before.key" doc:"The key before that one."`
	SignerTimeout                   time.Duration `env:"SENTINEL_SIGNER_TIMEOUT" default:"10s" min:"100ms" max:"1m" doc:"How long a program may take for one signature; then it is ended and nothing is signed."`

	CRLValidity  time.Duration `section:"Revocation" env:"SENTINEL_CRL_VALIDITY" default:"1h" min:"1m" max:"168h" doc:"How long a revocation list (CRL) holds. The server is not ready when one has run out."`
	CRLInterval  time.Duration `env:"SENTINEL_CRL_INTERVAL" default:"10m" min:"10s" max:"24h" doc:"How often a new one is made; after a revocation it is made at once. At most half of SENTINEL_CRL_VALIDITY."`
	OCSPValidity time.Duration `env:"SENTINEL_OCSP_VALIDITY" default:"10m" min:"10s" max:"8h" doc:"How long an OCSP answer holds."`

	AttestationMakersDir string        `section:"Attestation: what the TPMs of devices prove" env:"SENTINEL_ATTESTATION_MAKERS_DIR" check:"path" example:"/etc/sentinel/tpm-makers" doc:"The directory of the certificates (PEM files) of the makers of TPMs that are believed, read at the start; empty means that no evidence is taken."`
	AttestationPCRs      []string      `env:"SENTINEL_ATTESTATION_PCRS" default:"0,1,2,3,4,5,6,7" check:"pcrs" doc:"The registers (PCRs, 0 to 23, of the SHA-256 bank) that a TPM quotes, separated by commas."`
	AttestationInterval  time.Duration `env:"SENTINEL_ATTESTATION_INTERVAL" default:"1h" min:"1m" max:"24h" doc:"How often a device brings evidence; it counts for three times as long."`

	SessionIdle       time.Duration `section:"People" env:"SENTINEL_SESSION_IDLE" default:"1h" min:"1m" max:"24h" doc:"A session unused for this long ends."`
	SessionLifetime   time.Duration `env:"SENTINEL_SESSION_LIFETIME" default:"12h" min:"1m" max:"168h" doc:"A session ends after this long, used or not."`
	PasskeyRoles      []string      `env:"SENTINEL_PASSKEY_ROLES" check:"roles" example:"admin,security" doc:"Roles whose accounts must use a passkey once they have one, separated by commas; single accounts can be told to as well."`
	PasswordMinLength int           `env:"SENTINEL_PASSWORD_MIN_LENGTH" default:"15" min:"12" max:"64" doc:"The fewest characters of a new password."`

	LogLevel        slog.Level    `section:"Running" env:"SENTINEL_LOG_LEVEL" default:"info" oneof:"debug,info,warn,error" doc:"The least severe log lines that are written."`
	LogFormat       LogFormat     `env:"SENTINEL_LOG_FORMAT" default:"json" oneof:"json,text" doc:"How log lines are written to standard error."`
	ShutdownTimeout time.Duration `env:"SENTINEL_SHUTDOWN_TIMEOUT" default:"20s" min:"1s" max:"1m" doc:"How long the server waits for work in progress when it is asked to stop."`

	Later

	set   map[string]bool   // keys whose value did not come from the default
	files map[string]string // of secrets that were read from files, by their key
}
