package preflight

// The checks that others wait for.
const (
	checkPeopleURL   = "network.people-url"
	checkDeviceURL   = "network.device-url"
	checkTLS         = "network.tls-versions"
	checkSecretKey   = "secrets.secret-key"
	checkDataDir     = "secrets.data-directory"
	checkFleetRoot   = "keys.fleet-root"
	checkRunning     = "services.running"
	checkPostgreSQL  = "database.postgresql"
	checkDatabaseTLS = "database.tls"
	checkReachable   = "database.reachable"
	checkSchema      = "database.schema"
)
