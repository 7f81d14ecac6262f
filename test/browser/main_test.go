//go:build browser

package browser

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/programs"
)

// axe judges accessibility; see the package's documentation.
//
//go:embed testdata/axe-core/axe.min.js
var axe string

const axeDigest = "880970c081707360e64f34cea25ff91892f5bc95675b0776925b9709dd8a68bb"

// The agent is built once; pictures go to one folder.
var (
	agentBin string
	shots    string
)

func TestMain(m *testing.M) {
	code, err := prepare(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func prepare(m *testing.M) (int, error) {
	if sum := sha256.Sum256([]byte(axe)); hex.EncodeToString(sum[:]) != axeDigest {
		return 1, fmt.Errorf("testdata/axe-core/axe.min.js is not the file that was vendored")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return 1, err
	}
	shots = filepath.Join(root, "dist", "screenshots")
	if err := os.MkdirAll(shots, 0o755); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "browser")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := programs.Build(root, dir); err != nil {
		return 1, err
	}
	agentBin = programs.Path(dir, programs.Agent)
	return m.Run(), nil
}

// browser is one person's own Chromium: its cookies are nobody else's.
type browser struct {
	*testing.T

	ctx    context.Context
	server string
	said   *[]string // what pages wrote to their consoles, and what they threw
}

// open opens a browser of its own for a server.
func open(t *testing.T, server string) *browser {
	t.Helper()
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) }) // after Chromium, which may write to the last
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.WindowSize(1360, 900), chromedp.UserDataDir(profile))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses its sandbox to root
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, cancelTime := context.WithTimeout(ctx, 170*time.Second)
	t.Cleanup(cancelTime)
	b := &browser{t, ctx, server, &[]string{}}
	chromedp.ListenTarget(ctx, func(e any) {
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			*b.said = append(*b.said, "threw "+e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			for _, a := range e.Args {
				*b.said = append(*b.said, "said "+string(a.Value))
			}
		}
	})
	b.do(emulation.SetDeviceMetricsOverride(1360, 900, 1, false), emulation.SetFocusEmulationEnabled(true))
	return b
}

func (b *browser) do(actions ...chromedp.Action) {
	b.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		var where, text string
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), 3*time.Second)
		defer cancel()
		_ = chromedp.Run(ctx, chromedp.Location(&where), chromedp.Text("body", &text, chromedp.ByQuery))
		b.Fatalf("%v\nat %s:\n%s", err, where, text[:min(len(text), 800)])
	}
}

func (b *browser) at(path string) { b.Helper(); b.do(chromedp.Navigate(b.server + path)) }

// see waits until an element is there, and has the text in it when there is one.
func (b *browser) see(selector, text string) {
	b.Helper()
	b.until(fmt.Sprintf(`[...document.querySelectorAll(%q)].some(e => e.textContent.includes(%q) && e.getClientRects().length > 0)`, selector, text))
}

// follows waits until the page is live, and what it shows is the stream's.
func (b *browser) follows() {
	b.Helper()
	b.until(`document.body.dataset.following === "yes" && document.body.dataset.put === "yes"`)
}

// until asks again until an expression is true, also across a change of pages.
func (b *browser) until(expression string) {
	b.Helper()
	for range 300 {
		var ok bool
		if err := chromedp.Run(b.ctx, chromedp.Evaluate(expression, &ok)); err == nil && ok {
			return
		}
		if b.ctx.Err() != nil {
			break
		}
		time.Sleep(50 * time.Millisecond) // what is waited for is another process
	}
	b.do(chromedp.ActionFunc(func(context.Context) error { return fmt.Errorf("it did not become true: %s", expression) }))
}

// press clicks on what bears a text.
func (b *browser) press(selector, text string) {
	b.Helper()
	b.see(selector, text)
	var ok bool
	b.do(chromedp.Evaluate(fmt.Sprintf(`(() => { const e = [...document.querySelectorAll(%q)].find(e => e.textContent.includes(%q) && e.getClientRects().length > 0); if (!e) return false; e.scrollIntoView({block: "center"}); e.click(); return true; })()`, selector, text), &ok))
	if !ok {
		b.Fatalf("%s with %q went away", selector, text)
	}
}

func (b *browser) fill(selector, text string) {
	b.Helper()
	b.do(chromedp.WaitVisible(selector, chromedp.ByQuery), chromedp.Evaluate(fmt.Sprintf(`document.querySelector(%q).value = ""`, selector), nil), chromedp.SendKeys(selector, text, chromedp.ByQuery))
}

func (b *browser) text(selector string) (s string) {
	b.Helper()
	b.do(chromedp.TextContent(selector, &s, chromedp.ByQuery))
	return strings.TrimSpace(s)
}

func (b *browser) path() (s string) {
	b.Helper()
	b.do(chromedp.Evaluate(`location.pathname + location.search`, &s))
	return s
}

// signIn signs in with the password of tests.
func (b *browser) signIn(name string) {
	b.Helper()
	b.at("/dashboard/sign-in")
	b.fill("#name", name)
	b.fill("#password", servertest.Password)
	b.press("button[type=submit]", "Sign in")
}

// scheme sets what the system prefers: light or dark.
func (b *browser) scheme(s string) {
	b.Helper()
	b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: s}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}))
}

// keep keeps a picture of the whole page.
func (b *browser) keep(name string) {
	b.Helper()
	var png []byte
	b.do(chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(shots, name+".png"), png, 0o644); err != nil {
		b.Fatal(err)
	}
}

// judge fails for what axe finds serious or critical on the page.
func (b *browser) judge(name string) { b.Helper(); b.judgeBy(name, "") }

// judgeColours judges what differs between light and dark, and nothing else.
func (b *browser) judgeColours(name string) {
	b.Helper()
	b.judgeBy(name, `, runOnly: ["color-contrast"]`)
}

func (b *browser) judgeBy(name, rules string) {
	b.Helper()
	var raw string
	b.do(
		chromedp.ActionFunc(func(ctx context.Context) error {
			var there bool
			if err := chromedp.Evaluate(`typeof axe === "object"`, &there).Do(ctx); err != nil || there {
				return err
			}
			return chromedp.Evaluate(axe, nil).Do(ctx)
		}),
		chromedp.Evaluate(`axe.run(document, {resultTypes: ["violations"]`+rules+`}).then(r => JSON.stringify(r.violations.filter(v => v.impact === "serious" || v.impact === "critical").map(v => ({id: v.id, impact: v.impact, nodes: v.nodes.slice(0, 4).map(n => n.target.join(" ") + ": " + n.failureSummary)}))))`,
			&raw, awaited),
	)
	var found []struct {
		ID, Impact string
		Nodes      []string
	}
	if err := json.Unmarshal([]byte(raw), &found); err != nil {
		b.Fatal(err)
	}
	for _, f := range found {
		b.Errorf("%s: %s (%s):\n  %s", name, f.ID, f.Impact, strings.Join(f.Nodes, "\n  "))
	}
}

// quiet fails when a page threw or said something: nothing of ours does.
func (b *browser) quiet() {
	b.Helper()
	if len(*b.said) > 0 {
		b.Errorf("pages said: %s", strings.Join(*b.said, "\n"))
	}
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 400 {
		if ok() {
			return
		}
		time.Sleep(25 * time.Millisecond) // what is waited for is another process
	}
	t.Fatalf("it did not happen: %s", what)
}
