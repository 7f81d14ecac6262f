// Package nginx is the configuration that NGINX gets from "sentinel-server nginx
// install", and the units that keep it fresh, each beside this file.
package nginx

import _ "embed"

// Template is the configuration, for package text/template.
//
//go:embed sentinel.conf.tmpl
var Template string
