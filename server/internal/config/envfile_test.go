package config

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestLinesOfASettingsFileAreReadLiterally(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`A=plain`:                  `plain`,
		`A=`:                       ``,
		`  A=two words  `:          `two words`,
		"A=value\r":                `value`,
		`A=$HOME ${X} %h`:          `$HOME ${X} %h`,
		`A=x#y`:                    `x#y`,
		`A=a=b==`:                  `a=b==`,
		`A="in 'double' # quotes"`: `in 'double' # quotes`,
		`A='in "single" \n $X'`:    `in "single" \n $X`,
		`A=''`:                     ``,
		`A='  kept  '`:             `  kept  `,
		"\ufeffA=after a mark":     `after a mark`,
	} {
		entries, problems := parseFile("f", []byte(line))
		if len(problems) != 0 || len(entries) != 1 || entries[0].key != "A" || entries[0].value != want {
			t.Errorf("%q: got %v, %v", line, entries, problems)
		}
	}
	if entries, problems := parseFile("f", []byte("# a comment\n\n   # another\n")); entries != nil || problems != nil {
		t.Errorf("comments and blank lines: got %v, %v", entries, problems)
	}
}

func TestALineThatIsNoSettingIsRefusedWithItsNumber(t *testing.T) {
	t.Parallel()
	for line, words := range map[string]string{
		`export A=1`:      "export",
		`A`:               "no =",
		`A =1`:            "does not start with a key",
		`a=1`:             "does not start with a key",
		`=1`:              "does not start with a key",
		`9A=1`:            "does not start with a key",
		`; comment`:       "no =",
		`A='open`:         "never closed",
		`A="open`:         "never closed",
		`A='one' two`:     "closing quote",
		`A='one' # two`:   "closing quote",
		`A=it's`:          "inside the value",
		`A=C:\Data`:       "backslash",
		`A="C:\Data"`:     "backslash",
		`A=1 # comment`:   "comment follows",
		"A=1\t# comment":  "control character",
		"A=\x07":          "control character",
		"A=one\rA=two":    "control character",
		`# continued \`:   "backslash",
		"A=\x00":          "NUL",
		"A=\xff":          "UTF-8",
		"\xff\xfeA\x00=1": "NUL",
	} {
		entries, problems := parseFile("f", []byte("\n"+line))
		if len(entries) != 0 || len(problems) != 1 || !strings.Contains(problems[0].Message, words) || problems[0].Fix == "" {
			t.Errorf("%q: got %v, %v", line, entries, problems)
			continue
		}
		if utf8.ValidString(line) && !strings.Contains(line, "\x00") && !strings.Contains(problems[0].Message, "line 2: ") {
			t.Errorf("%q: no line number in %v", line, problems)
		}
	}
}

func TestTheDistanceOfTwoKeysCountsEdits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "xabc", 1}, {"abcd", "acd", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestWhatTheRecommendedCommandMakesIsNeverRefused(t *testing.T) {
	t.Parallel()
	// Output of openssl rand -base64 48, and of openssl rand -hex 32.
	for _, s := range []string{
		"q0gq8m7N5m2V1uK9mIuJ1cJ4l0Jm6T3o9mYt2nV4w5r8zC1xB7vK0pL3sD6fG9hA",
		"3f8a1c5e7b9d2046f1a3c5e7092b4d6f8091a2b3c4d5e6f70819243546576879",
	} {
		if f := weakness(s); f != nil {
			t.Errorf("%s: %s", s, f.message)
		}
	}
}

// What is read can be written so that it is read again.
func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{
		"", "A=1\n", "# c\nA='x y'\nB=\"it's\"\n", "export A=1", "A='", "A=\"\\\"", "A=1 # c", "\ufeffA=1", "A=\x00", "A=a=b", "A=\xff", "=\n", "A=1\nA=2", string(Example()),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, problems := parseFile("f", data)
		for _, p := range problems {
			if p.Key == "" || p.Message == "" || p.Fix == "" {
				t.Errorf("a problem without key, message or fix: %+v", p)
			}
		}
		var again strings.Builder
		for i := range entries {
			again.WriteString(formatLine(entries[i].key, entries[i].value) + "\n")
			entries[i].line = i + 1
		}
		reread, problems := parseFile("f", []byte(again.String()))
		if len(problems) != 0 {
			t.Fatalf("%q is refused: %v", again.String(), problems)
		}
		if diff := cmp.Diff(entries, reread, cmp.AllowUnexported(entry{})); diff != "" {
			t.Error(diff)
		}
	})
}

// No environment and no file make the server panic or show a value it refused.
func FuzzLoad(f *testing.F) {
	for _, s := range settings {
		f.Add(s.Key, s.Default)
		f.Add(s.Key, s.example)
	}
	f.Add("SENTINEL_JWT_SECRET_FILE", "/dev/null")
	f.Add("SENTINEL_DATABASE_URL", "postgres://u:hunter2hunter2@[::1/d")
	f.Fuzz(func(t *testing.T, key, value string) {
		if strings.HasSuffix(key, fileSuffix) {
			return // the paths of the machine that runs this are no input
		}
		c, err := Load([]string{key + "=" + value}, "")
		if (c == nil) == (err == nil) {
			t.Errorf("config %v, error %v", c, err)
		}
		if err != nil && len(value) > 24 && !strings.Contains(string(Example()), value) && !strings.Contains(key, value) && strings.Contains(err.Error(), value) {
			t.Errorf("the refused value is in the error: %v", err)
		}
	})
}
