package config

import "net"

// deriveURLs fills the URLs that were left empty from the first machine name and
// the port. With port 0 they stay empty, since the port is known only to
// the listener: whoever opened it knows the URL.
func (c *Config) deriveURLs() {
	if c.PeopleURL == "" {
		scheme := "http"
		if c.PeopleTLSCertFile != "" {
			scheme = "https"
		}
		c.PeopleURL = c.urlOn(scheme, c.PeopleListen)
	}
	if c.MachineURL == "" {
		c.MachineURL = c.urlOn("https", c.MachineListen)
	}
}

func (c *Config) urlOn(scheme, listen string) string {
	_, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return ""
	}
	return scheme + "://" + net.JoinHostPort(c.MachineNames[0], port)
}
