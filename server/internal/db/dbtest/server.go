package dbtest

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver, named "pgx"
)

// variable names the URL of a running server whose user may create databases.
const variable = "SENTINEL_TEST_POSTGRES"

// running is the PostgreSQL of this process.
type running struct {
	url   url.URL
	admin *sql.DB
	// hold is the pipe whose end stops a server of our own. It stands here so that
	// the garbage collector, which would close it, sees that it is in use.
	hold io.Closer
}

// server is found or started once in a process.
var server = sync.OnceValues(func() (*running, error) {
	if address := os.Getenv(variable); address != "" {
		return connect(address, nil)
	}
	address, hold, err := start()
	if err != nil {
		return nil, fmt.Errorf("%w\n(run the tests through \"make test\", which installs PostgreSQL, or name a server in %s)", err, variable)
	}
	return connect(address, hold)
})

func connect(address string, hold io.Closer) (*running, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// The text of a URL that does not parse may hold a password.
		return nil, errors.New(variable + " is not of the form postgres://user:password@host:port/database")
	}
	admin, err := sql.Open("pgx", address)
	if err != nil {
		return nil, err
	}
	// Making databases is one process's work at a time on the server anyhow, and
	// the tests need the connections.
	admin.SetMaxOpenConns(2)
	if err := admin.Ping(); err != nil {
		return nil, fmt.Errorf("the server in %s does not answer: %w", variable, err)
	}
	return &running{url: *u, admin: admin, hold: hold}, nil
}

// start runs a server that stops when the pipe is closed, at the latest when this
// process ends, and returns its URL.
func start() (address string, hold io.Closer, err error) {
	script, err := findUp(filepath.Join("test", "postgres", "serve"))
	if err != nil {
		return "", nil, err
	}
	var complaint strings.Builder
	cmd := exec.Command(script)
	cmd.Stderr = &complaint
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = stdin.Close()
		_ = cmd.Wait()
		return "", nil, errors.New(strings.TrimSpace(complaint.String()))
	}
	return strings.TrimSpace(line), stdin, nil
}

// findUp returns the path of a file of the repository, from the directory of
// whichever package is tested.
func findUp(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%s is in no directory above", name)
		}
		dir = parent
	}
}
