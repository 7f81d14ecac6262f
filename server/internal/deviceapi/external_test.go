package deviceapi_test

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/extca/extcatest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// external is a running server that believes another authority, with its list.
type external struct {
	*world
	ca      *extcatest.CA
	list    string // file
	number  int64
	revoked []*x509.Certificate
}

// refresh is how often the server fetches the list anew.
const refresh = time.Second

func newExternal(t *testing.T, url string, more map[string]string) *external {
	t.Helper()
	x := &external{ca: extcatest.NewRoot(t, "Other", time.Now(), nil), list: filepath.Join(t.TempDir(), "other.crl")}
	x.publish(t)
	settings := map[string]string{
		"SENTINEL_DEVICE_CA": "external", "SENTINEL_EXTERNAL_CA_FILES": extcatest.File(t, "other.pem", extcatest.PEM(x.ca.Certificate)),
		"SENTINEL_REVOCATION_LISTS": x.list, "SENTINEL_REVOCATION_INTERVAL": refresh.String(),
	}
	for k, v := range more {
		settings[k] = v
	}
	x.world = newWorld(t, url, servertest.Options{Settings: settings})
	return x
}

// publish signs the list anew and puts it into its place.
func (x *external) publish(t *testing.T) {
	t.Helper()
	x.number++
	data := x.ca.CRL(t, x.number, time.Now().Add(-time.Second).Truncate(time.Second), time.Now().Add(time.Hour), x.revoked...)
	next := x.list + ".next"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, x.list); err != nil {
		t.Fatal(err)
	}
}

// comes is a device that presents a certificate of the other authority.
func (x *external) comes(id string) (*servertest.Device, *x509.Certificate) {
	x.t.Helper()
	d := x.NewDevice(id)
	leaf := x.ca.Issue(x.t, id, d.Key.Public(), time.Now(), nil)
	d.Chain, d.Epoch = [][]byte{leaf.Raw}, d.BootID
	return d, leaf
}

// asks sends heartbeats until the answer is not that the list is on its way.
func (x *external) asks(d *servertest.Device) *protocol.Problem {
	x.t.Helper()
	for range 100 {
		p, err := d.Beat()
		if err != nil {
			x.t.Fatal(err)
		}
		if p != nil && p.Code == protocol.CodeEpochChanged {
			continue
		}
		if p == nil || p.Code != protocol.CodeRevocationUnknown {
			return p
		}
		time.Sleep(20 * time.Millisecond)
	}
	x.t.Fatal("it is never known whether the certificate is revoked")
	return nil
}

func (x *external) letIn(id string) (*servertest.Device, *x509.Certificate) {
	x.t.Helper()
	d, leaf := x.comes(id)
	if p := x.asks(d); p == nil || p.Code != protocol.CodeReviewPending || p.Nonce == "" {
		x.t.Fatalf("the first heartbeat: %+v", p)
	}
	x.reviewer.Approve(d.EnrollmentID)
	if p := x.asks(d); p != nil {
		x.t.Fatalf("after the review: %+v", p)
	}
	return d, leaf
}

// C1, A8, A9: the real server, over mutual TLS, with the other authority's list.
func TestADeviceOfAnotherAuthority(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		x := newExternal(t, url, nil)
		d, leaf := x.letIn("edge-1")
		d.MustBeat()
		if d.Answer.Renew {
			t.Error("it is told to renew")
		}
		if p, err := x.NewDevice("edge-9").Ask(x.operator.EnrollToken(1)); err != nil || p == nil || p.Code != protocol.CodeIssuedElsewhere {
			t.Errorf("by a token: %+v %v", p, err)
		}

		// Its authority revokes it: refused on the open connection within one refresh.
		dials := countDials(d)
		other, _ := x.letIn("edge-2")
		d.MustBeat()
		x.revoked = append(x.revoked, leaf)
		x.publish(t)
		begin := time.Now()
		var p *protocol.Problem
		for time.Since(begin) < 5*refresh {
			var err error
			if p, err = d.Beat(); err != nil {
				t.Fatal(err)
			}
			if p != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		took := time.Since(begin)
		if p == nil || p.Code != protocol.CodeCertificateRevoked {
			t.Fatalf("after its revocation: %+v", p)
		}
		t.Logf("refused %v after its authority said so, fetched every %v", took.Round(time.Millisecond), refresh)
		if took > 2*refresh {
			t.Errorf("it took %v", took)
		}
		if n := dials.Load(); n > 1 {
			t.Errorf("%d connections", n)
		}
		other.MustBeat()
		eventually(t, "the revocation is written down", func() bool {
			return x.Count("certificates", "fingerprint = ? AND revoked_reason = 'elsewhere'", certs.Fingerprint(leaf.Raw)) == 1
		})
		var page struct {
			Trust struct {
				Verdict string `json:"verdict"`
			} `json:"trust"`
		}
		x.operator.Must("GET", "/api/devices/edge-1", nil, &page)
		if page.Trust.Verdict == "trusted" {
			t.Error("its device is trusted")
		}
		// And what is revoked stays so, whatever its authority says later.
		x.revoked = nil
		x.publish(t)
		time.Sleep(2 * refresh)
		if p, err := d.Beat(); err != nil || p == nil || p.Code != protocol.CodeCertificateRevoked {
			t.Errorf("taken off the list: %+v %v", p, err)
		}
	})
}

// REV-07: what its authority revokes while a person decides is written down when the
// person lets it in all the same.
func TestARevocationDuringTheReviewIsWrittenDown(t *testing.T) {
	t.Parallel()
	x := newExternal(t, "sqlite:", nil)
	d, leaf := x.comes("edge-1")
	if p := x.asks(d); p == nil || p.Code != protocol.CodeReviewPending {
		t.Fatalf("the first heartbeat: %+v", p)
	}
	x.revoked = append(x.revoked, leaf)
	x.publish(t)
	revoked := func() bool {
		p := x.asks(d)
		return p != nil && p.Code == protocol.CodeCertificateRevoked
	}
	eventually(t, "it is refused", revoked)
	x.reviewer.Approve(d.EnrollmentID)
	eventually(t, "the revocation is written down", func() bool {
		return x.Count("certificates", "fingerprint = ? AND revoked_reason = 'elsewhere'", certs.Fingerprint(leaf.Raw)) == 1
	})
	if !revoked() {
		t.Error("it was let in")
	}
}

// PKI-09: an authority of the name of ours, or ours itself among the others, takes no
// device of ours out of our rule, and lets nobody in as one.
func TestOurAuthoritysNameIsOurs(t *testing.T) {
	t.Parallel()
	settings := map[string]string{}
	w := newWorld(t, "sqlite:", servertest.Options{Settings: settings})
	ours := w.device("edge-1")
	ours.MustBeat()
	authority, err := x509.ParseCertificate(ours.Chain[1])
	if err != nil {
		t.Fatal(err)
	}
	twin := extcatest.NewRoot(t, "Twin", time.Now(), func(c *x509.Certificate) { c.RawSubject = authority.RawSubject })
	other := extcatest.NewRoot(t, "Other", time.Now(), nil)
	settings["SENTINEL_DEVICE_CA"] = "external"
	settings["SENTINEL_EXTERNAL_CA_FILES"] = extcatest.File(t, "all.pem", extcatest.PEM(other.Certificate, twin.Certificate, authority))
	w.Server = w.Again()
	ours = ours.At(w.Server)
	ours.MustBeat()
	for name, c := range map[string]struct {
		ca   *extcatest.CA
		want protocol.Code
	}{"of the other authority": {other, protocol.CodeReviewPending}, "of ours's twin": {twin, protocol.CodeCertificateUnknown}} {
		d := w.NewDevice("edge-2")
		d.Chain, d.Epoch = [][]byte{c.ca.Issue(t, "edge-2", d.Key.Public(), time.Now(), nil).Raw}, d.BootID
		p, err := d.Beat()
		for p != nil && p.Code == protocol.CodeEpochChanged {
			p, err = d.Beat()
		}
		if err != nil || p == nil || p.Code != c.want {
			t.Errorf("a certificate %s: %+v %v, want %s", name, p, err, c.want)
		}
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 500 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("not within 5 s: %s", what)
}

// A8: what is not the other authority's, or does not name the device as it should, opens
// no review and changes nothing.
func TestOnlyRightCertificatesOpenAReview(t *testing.T) {
	t.Parallel()
	x := newExternal(t, "sqlite:", map[string]string{"SENTINEL_EXTERNAL_CA_NAME": "dns", "SENTINEL_EXTERNAL_CA_NAME_PATTERN": "{device_id}.devices.test"})
	right := func(c *x509.Certificate) { c.DNSNames = []string{"edge-1.devices.test"} }
	d, _ := x.comes("edge-1")
	show := func(ca *extcatest.CA, change func(*x509.Certificate)) {
		d.Chain = [][]byte{ca.Issue(t, "edge-1", d.Key.Public(), time.Now(), change).Raw}
		d.Hangup()
	}
	show(x.ca, right)
	if p := x.asks(d); p == nil || p.Code != protocol.CodeReviewPending {
		t.Fatalf("%+v", p)
	}
	before := x.state()
	stranger := extcatest.NewRoot(t, "Other", time.Now(), nil)
	for name, c := range map[string]struct {
		ca     *extcatest.CA
		change func(*x509.Certificate)
		want   protocol.Code
	}{
		"of a stranger":               {stranger, right, protocol.CodeCertificateUnknown},
		"without the name":            {x.ca, nil, protocol.CodeCertificateUnknown},
		"by another common name (A8)": {x.ca, func(c *x509.Certificate) { right(c); c.Subject.CommonName = "edge-2" }, protocol.CodeCertificateUnknown},
		"for servers":                 {x.ca, func(c *x509.Certificate) { right(c); c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, protocol.CodeCertificateUnknown},
		"that has expired":            {x.ca, func(c *x509.Certificate) { right(c); c.NotAfter = time.Now().Add(-time.Minute) }, protocol.CodeCertificateExpired},
		"that begins in the future":   {x.ca, func(c *x509.Certificate) { right(c); c.NotBefore = time.Now().Add(time.Hour) }, protocol.CodeCertificateNotYet},
		"of another device, by its name": {x.ca, func(c *x509.Certificate) {
			c.DNSNames, c.Subject.CommonName = []string{"edge-7.devices.test"}, "edge-7"
		}, protocol.CodeIdentityMismatch},
	} {
		show(c.ca, c.change)
		if p := x.asks(d); p == nil || p.Code != c.want {
			t.Errorf("a certificate %s: %+v, want %s", name, p, c.want)
		}
	}
	// PKI-09: what follows the certificate whose key was proved speaks for nobody.
	victim := x.ca.Issue(t, "edge-1", extcatest.Key(t).Public(), time.Now(), right)
	own := stranger.Issue(t, "edge-1", d.Key.Public(), time.Now(), right)
	for name, chain := range map[string][][]byte{
		"with a right one behind it":                   {own.Raw, victim.Raw},
		"with a right one and its authority behind it": {own.Raw, victim.Raw, x.ca.Certificate.Raw},
		"with its own twice, and a right one between":  {own.Raw, victim.Raw, own.Raw},
	} {
		d.Chain = chain
		d.Hangup()
		if p := x.asks(d); p == nil || p.Code != protocol.CodeCertificateUnknown {
			t.Errorf("a stranger's certificate %s: %+v", name, p)
		}
	}
	x.unchanged(before, "a certificate that is not right")
}

// REV-02, REV-11: without a list that holds nobody is let in, and readiness says so. One
// that is older than what was in place before a restart does not hold.
func TestWithoutAListNobodyIsLetIn(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(x *external, first []byte) []byte{
		"broken": func(*external, []byte) []byte { return []byte("broken") },
		"older": func(x *external, first []byte) []byte {
			x.publish(t)
			eventually(t, "the second list is remembered", func() bool { return x.Count("outside_lists", "number = ?", "2") == 1 })
			return first
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newExternal(t, "sqlite:", nil)
			x.letIn("edge-1")
			first, err := os.ReadFile(x.list)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(x.list, fault(x, first), 0o600); err != nil {
				t.Fatal(err)
			}
			x.Server = x.Again()
			d, _ := x.comes("edge-2")
			if p, err := d.Beat(); err != nil || p == nil || p.Code != protocol.CodeRevocationUnknown {
				t.Errorf("%+v %v", p, err)
			}
			if a := x.send(x.caller(nil, nil), call{method: "GET", path: "/api/health/ready"}); a.status != 503 {
				t.Errorf("ready: %d %s", a.status, a.body)
			}
			x.publish(t)
			eventually(t, "it is ready again", func() bool {
				return x.send(x.caller(nil, nil), call{method: "GET", path: "/api/health/ready"}).status == 200
			})
		})
	}
}

// The answers of heartbeats wait for no list and no responder.
func TestHeartbeatsStayQuickWhileAResponderDoesNotAnswer(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	url := serveStuck(t, stuck)
	x := newExternal(t, "sqlite:", map[string]string{"SENTINEL_REVOCATION_RESPONDER": url})
	d, _ := x.comes("edge-1")
	var took []time.Duration
	for range 50 {
		begin := time.Now()
		p, err := d.Beat()
		took = append(took, time.Since(begin))
		if err != nil || p == nil || p.Code != protocol.CodeRevocationUnknown && p.Code != protocol.CodeEpochChanged {
			t.Fatalf("%+v %v", p, err)
		}
	}
	slices.Sort(took)
	t.Logf("the median answer took %v, the slowest %v", took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > 250*time.Millisecond {
		t.Errorf("the median answer took %v", took[len(took)/2])
	}
}
