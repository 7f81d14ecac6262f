package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/nginx"
)

// Where things lie with the packages of this server and of NGINX.
const (
	defaultNGINXDir  = "/etc/nginx/sentinel"
	defaultNGINXSite = "/etc/nginx/conf.d/sentinel.conf"
	defaultNGINXFrom = "/var/lib/sentinel-server/proxy"
)

func (p *program) nginxCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "nginx", GroupID: "host", Short: "Put NGINX in front of the server, keep it fresh, and try the way through it",
		Long: `nginx puts NGINX in front of the server: browsers' TLS and the devices' client
certificates end there. install writes its configuration, refresh keeps its
certificate and its revocation lists fresh, smoke-test tries the way through it.
See docs/reverse-proxy.md.`,
	}
	c.AddCommand(p.nginxInstall(), p.nginxRefresh(), p.nginxSmokeTest())
	return c
}

// hostFlags are those of every command that works on NGINX's files.
func hostFlags(c *cobra.Command, h *nginx.Host) {
	h.Now = time.Now
	c.Flags().StringVar(&h.NGINX.Path, "nginx", "nginx", "the NGINX program")
	c.Flags().StringVar(&h.NGINX.Conf, "nginx-conf", "", "NGINX's main configuration, where it is not its own default")
	c.Flags().StringVar(&h.Dir, "dir", defaultNGINXDir, "directory for what NGINX goes by")
}

func (p *program) nginxInstall() *cobra.Command {
	h := &nginx.Host{}
	var path, certificate, key string
	var machines, people []string
	var dry bool
	c := &cobra.Command{Use: "install", Short: "Write NGINX's configuration from the settings, test it, and reload NGINX", Args: cobra.NoArgs}
	c.Long = `install writes NGINX's configuration for this server from the server's settings, has
NGINX test it, reloads NGINX, and sees that it shows the new certificate. If any of that
fails, everything is put back as it was. A configuration of before is kept beside the new
one, with .before at its end.

It runs as root, with the server's settings (--config), after the server was started with
SENTINEL_TRUST_PROXY_CERT_HEADERS=true and SENTINEL_PROXY_LISTEN. NGINX must run.

The console comes with it when SENTINEL_PROXY_PEOPLE_LISTEN is set, and then needs a
certificate that browsers believe. Console and devices may have two names, or one name
and two ports; a browser is never asked for a client certificate.`
	c.RunE = func(c *cobra.Command, _ []string) error {
		settings, err := p.settings()
		if err != nil {
			return err
		}
		s, err := site(settings, h.Dir, certificate, key, machines, people)
		if err != nil {
			return err
		}
		if dry {
			conf, err := s.Render()
			if err == nil {
				_, err = p.out.Write(conf)
			}
			return err
		}
		if h.From, err = filepath.Abs(filepath.Join(settings.DataDir, "proxy")); err != nil {
			return err
		}
		if err := h.Install(c.Context(), s, path); err != nil {
			return err
		}
		fmt.Fprintf(p.out, "NGINX serves devices at %s", settings.MachineURL)
		if s.People != nil {
			fmt.Fprintf(p.out, " and people at %s", settings.PeopleURL)
		}
		fmt.Fprintf(p.out, ".\nIts configuration is %s. Keep it fresh with:\n  systemctl enable --now sentinel-nginx.path sentinel-nginx.timer\nTry it with:\n  sentinel-server nginx smoke-test --base-url %s --ca-file %s\n",
			path, settings.MachineURL, filepath.Join(h.Dir, nginx.PairFile))
		return nil
	}
	hostFlags(c, h)
	c.Flags().StringVar(&path, "site", defaultNGINXSite, "file to write the configuration to; NGINX must include it in its http block")
	c.Flags().StringVar(&certificate, "console-certificate", "", "the console's certificate chain (PEM), which browsers believe")
	c.Flags().StringVar(&key, "console-key", "", "its private key (PEM)")
	c.Flags().StringSliceVar(&machines, "listen-machines", nil, "where NGINX listens for devices, host:port; the port of SENTINEL_MACHINE_URL on every address, if not given")
	c.Flags().StringSliceVar(&people, "listen-people", nil, "the same for people, of SENTINEL_PEOPLE_URL")
	c.Flags().BoolVar(&dry, "dry-run", false, "print the configuration, and change nothing")
	return c
}

// site is what NGINX serves by the server's settings.
func site(s *config.Config, dir, certificate, key string, machines, people []string) (*nginx.Site, error) {
	if !s.TrustProxyCertHeaders {
		return nil, errors.New("this server believes no proxy; set SENTINEL_TRUST_PROXY_CERT_HEADERS=true, SENTINEL_PROXY_LISTEN and SENTINEL_PROXY_USERS first, and see docs/reverse-proxy.md")
	}
	made := &nginx.Site{Dir: dir}
	u, err := url.Parse(s.MachineURL)
	if err != nil || s.MachineURL == "" {
		return nil, errors.New("SENTINEL_MACHINE_URL must say where devices find NGINX, for example https://devices.example.com:8443")
	}
	names := []string{u.Hostname()} // the one that devices are told comes first
	for _, n := range s.MachineNames {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	made.Machines = nginx.Machines{Names: names, Listen: listen(machines, u), Upstream: upstream(s.ProxyListen), IdleSeconds: int((2*s.HeartbeatInterval + time.Minute).Seconds())}
	if !isSocket(s.ProxyListen) || s.ProxyPeopleListen != "" && !isSocket(s.ProxyPeopleListen) {
		made.Secret = string(s.ProxySecret)
	}
	if err := free(s, made.Machines.Listen); err != nil {
		return nil, err
	}
	if s.ProxyPeopleListen == "" {
		if certificate != "" || key != "" || len(people) > 0 {
			return nil, usageError{errors.New("the console is not behind the proxy; set SENTINEL_PROXY_PEOPLE_LISTEN to bring it there")}
		}
		return made, nil
	}
	if certificate == "" || key == "" {
		return nil, usageError{errors.New("the console is behind the proxy and needs a certificate that browsers believe: --console-certificate FILE --console-key FILE")}
	}
	if u, err = url.Parse(s.PeopleURL); err != nil || u.Scheme != "https" {
		return nil, errors.New("SENTINEL_PEOPLE_URL must say where browsers find NGINX, for example https://console.example.com")
	}
	made.People = &nginx.People{Names: []string{u.Hostname()}, Listen: listen(people, u), Upstream: upstream(s.ProxyPeopleListen), Certificate: certificate, Key: key}
	return made, free(s, made.People.Listen)
}

// free says where the server listens itself, so that NGINX could not: its own test opens
// no address, and would not find it.
func free(s *config.Config, wanted []string) error {
	for _, own := range []struct{ key, address, instead string }{
		{"SENTINEL_MACHINE_LISTEN", s.MachineListen, "127.0.0.1:8444"}, {"SENTINEL_PEOPLE_LISTEN", s.PeopleListen, "127.0.0.1:8081"},
		{"SENTINEL_PROXY_LISTEN", s.ProxyListen, "127.0.0.1:8445"}, {"SENTINEL_PROXY_PEOPLE_LISTEN", s.ProxyPeopleListen, "127.0.0.1:8446"},
	} {
		for _, w := range wanted {
			if collide(w, own.address) {
				return fmt.Errorf("NGINX is to listen at %s, but the server does so itself (%s=%s); move the server, for example %s=%s, restart it, and try again", w, own.key, own.address, own.key, own.instead)
			}
		}
	}
	return nil
}

// collide reports whether two addresses cannot be listened on at the same time.
func collide(wanted, own string) bool {
	at, err := netip.ParseAddrPort(wanted)
	host, port, splitErr := net.SplitHostPort(own)
	if err != nil || splitErr != nil || port != strconv.Itoa(int(at.Port())) {
		return false
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil, ip.IsUnspecified() && ip.Is6(): // every address, of both kinds
		return true
	case ip.Is4() != at.Addr().Is4(): // NGINX takes [::] for IPv6 alone
		return false
	}
	return ip.IsUnspecified() || at.Addr().IsUnspecified() || ip == at.Addr()
}

func isSocket(address string) bool { return strings.HasPrefix(address, "unix:") }

// upstream is where the server listens, as NGINX connects there: never by a name, and
// never to every address.
func upstream(listen string) string {
	if isSocket(listen) {
		return listen
	}
	host, port, err := net.SplitHostPort(listen)
	if ip, parseErr := netip.ParseAddr(host); err == nil && (host == "localhost" || host == "" || parseErr == nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}

// listen is what was given, or every address with the port of a URL.
func listen(given []string, u *url.URL) []string {
	if len(given) > 0 {
		return given
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	all := []string{"0.0.0.0:" + port}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil { // NGINX does not start on what a host has not
		_ = l.Close()
		all = append(all, "[::]:"+port)
	}
	return all
}

func (p *program) nginxRefresh() *cobra.Command {
	h := &nginx.Host{}
	var output string
	c := &cobra.Command{Use: "refresh", Short: "Have NGINX take over the certificate and the revocation lists that the server wrote, if they are new", Args: cobra.NoArgs}
	c.Long = `refresh copies what the server wrote for NGINX to where NGINX reads it, checks it, has NGINX
test it, and reloads NGINX: at a revocation, for another certificate or authority, and
when its lists are half through their time. Otherwise it changes nothing. What fails is
undone. It needs no settings.

It ends with exit code 1 when it failed, and when less than a quarter of the time is left
of a list that NGINX goes by and there is none after it. The units sentinel-nginx.path and
sentinel-nginx.timer run it, so that systemd shows both.`
	c.RunE = func(c *cobra.Command, _ []string) error {
		why, ends, err := h.Refresh(c.Context())
		said := struct {
			Reloaded bool      `json:"reloaded"`
			Why      string    `json:"why,omitempty"`
			Ends     time.Time `json:"lists_end,omitzero"`
			Error    string    `json:"error,omitempty"`
		}{why != "", why, ends.UTC(), ""}
		if output == "json" {
			if err != nil {
				said.Error = err.Error()
			}
			return errors.Join(json.NewEncoder(p.out).Encode(said), err)
		}
		if why != "" {
			fmt.Fprintf(p.out, "NGINX was reloaded for %s.\n", why)
		} else if err == nil {
			fmt.Fprintln(p.out, "There is nothing new.")
		}
		if ends.IsZero() && err == nil {
			fmt.Fprintln(p.out, "It looks at no revocation list, since not every authority of devices has one for it; the server looks at every request.")
		} else if !ends.IsZero() {
			fmt.Fprintf(p.out, "Its revocation lists hold until %s.\n", ends.UTC().Format(time.RFC3339))
		}
		return err
	}
	hostFlags(c, h)
	c.Flags().StringVar(&h.From, "from", defaultNGINXFrom, "directory that the server wrote it to: proxy, in its data directory")
	outputFlag(c, &output)
	return c
}
