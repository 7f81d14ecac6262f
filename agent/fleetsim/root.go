package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Limits of a run: a mistyped number must not become an attack.
const (
	maxDevices  = 100_000
	maxDuration = 24 * time.Hour
	maxProbed   = 16
)

// options are a run as it was asked for.
type options struct {
	server      string
	fingerprint string
	fleetRoot   string
	token       string
	tokenFile   string
	remote      bool

	devices int
	prefix  string
	dir     string
	memory  bool

	interval time.Duration
	paced    bool // interval was given; otherwise the server says
	jitter   float64
	duration time.Duration
	rounds   int
	atOnce   int
	storm    time.Duration
	bad      float64
	kinds    []string

	cpuOf  []int
	output string
}

func newRoot() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "fleetsim",
		Short: "Simulates a fleet of devices against a server",
		Long: `Fleetsim enrolls devices, sends their heartbeats for a while, and says how many were
answered, how fast, and what went wrong. It talks to the address in --server and to
nothing else.

The devices are kept in --dir. Each heartbeat writes its device's journal twice and
flushes it, as the agent does: put the directory on a file system in memory (such as
/dev/shm) unless this machine's disk is to be measured. --memory takes a new one
there, and removes it at the end.

Devices enroll by themselves while an enrollment window is open, or wait until
somebody approves them.`,
		Example: `  fleetsim --server https://localhost:8443 --ca-fingerprint 3f9a... --token-file token \
    --devices 1000 --dir /dev/shm/fleet --interval 10s --duration 1m`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.paced = cmd.Flags().Changed("interval")
			if err := o.check(); err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.server, "server", "", "address of the server's machine listener, https://host:port")
	f.StringVar(&o.fingerprint, "ca-fingerprint", "", "SHA-256 of the server's CA certificate in hex")
	f.StringVar(&o.fleetRoot, "fleet-root", "", "SHA-256 of the first fleet root in hex; without it the server's own is trusted on first use")
	f.StringVar(&o.token, "token", "", "enrollment token, for devices that are not enrolled yet")
	f.StringVar(&o.tokenFile, "token-file", "", "file that holds the enrollment token")
	f.BoolVar(&o.remote, "remote", false, "the server is on another machine, and I may load it")
	f.IntVar(&o.devices, "devices", 10, fmt.Sprintf("how many devices, at most %d", maxDevices))
	f.StringVar(&o.prefix, "prefix", "sim", "how their device_ids begin")
	f.StringVar(&o.dir, "dir", "", "directory of the devices; made when it is missing")
	f.BoolVar(&o.memory, "memory", false, "keep the devices in memory and forget them at the end")
	f.DurationVar(&o.interval, "interval", 0, "time between a device's heartbeats, 0s for none; without this flag as the server says")
	f.Float64Var(&o.jitter, "jitter", 0.1, "by which share of the interval a heartbeat may come early")
	f.DurationVar(&o.duration, "duration", 30*time.Second, "how long to send heartbeats; 0s only enrolls")
	f.IntVar(&o.rounds, "rounds", 0, "end before --duration once each device has had so many heartbeats accepted, and is back from a storm; 0 for the whole time")
	f.IntVar(&o.atOnce, "at-once", 0, "most heartbeats on their way at once, 0 for no limit")
	f.DurationVar(&o.storm, "storm", 0, "after this time drop all connections and have all devices come back at once")
	f.Float64Var(&o.bad, "bad", 0, "which share of the devices is bad, 0 to 1")
	f.StringSliceVar(&o.kinds, "bad-kinds", kindNames(), "what the bad ones do")
	f.IntSliceVar(&o.cpuOf, "cpu-of", nil, "process whose CPU time, with its children's, is told; may be repeated")
	f.StringVar(&o.output, "output", "text", "text or json")
	return cmd
}

// check holds the options to their limits, and reads the token.
func (o *options) check() error {
	u, err := url.Parse(o.server)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return errors.New("--server must be an https URL")
	case !o.remote && !loopback(u.Hostname()):
		return errors.New("--server is not on this machine; say --remote if it may be loaded from here")
	case o.devices < 1 || o.devices > maxDevices:
		return fmt.Errorf("--devices must be 1 to %d", maxDevices)
	case protocol.CheckDeviceID(deviceID(o.prefix, o.devices)) != nil:
		return errors.New("--prefix does not make device_ids")
	case (o.dir == "") == !o.memory:
		return errors.New("say either --dir or --memory")
	case o.interval < 0 || o.interval > time.Hour:
		return errors.New("--interval must be at most 1h")
	case o.jitter < 0 || o.jitter > 1:
		return errors.New("--jitter must be 0 to 1")
	case o.duration < 0 || o.duration > maxDuration:
		return fmt.Errorf("--duration must be at most %s", maxDuration)
	case o.storm < 0 || o.storm >= max(o.duration, 1):
		return errors.New("--storm must come before --duration is over")
	case o.atOnce < 0 || o.rounds < 0 || o.bad < 0 || o.bad > 1 || len(o.cpuOf) > maxProbed:
		return errors.New("--at-once, --rounds, --bad or --cpu-of is out of range")
	case o.output != "text" && o.output != "json":
		return errors.New("--output must be text or json")
	case o.token != "" && o.tokenFile != "":
		return errors.New("--token and --token-file exclude each other")
	}
	for _, k := range o.kinds {
		if _, ok := kinds[k]; !ok {
			return fmt.Errorf("--bad-kinds must be of %s", strings.Join(kindNames(), ", "))
		}
	}
	if o.tokenFile != "" {
		data, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return fmt.Errorf("read the token: %w", err)
		}
		o.token = strings.TrimSpace(string(data))
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func deviceID(prefix string, n int) string { return fmt.Sprintf("%s-%05d", prefix, n) }
