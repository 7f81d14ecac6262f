package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// Users are the user ids that a proxy may run as, from names or numbers.
func Users(names []string) (map[uint32]bool, error) {
	ids := map[uint32]bool{}
	for _, name := range names {
		id := name
		if u, err := user.Lookup(name); err == nil {
			id = u.Uid
		}
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("there is no user %q on this machine", name)
		}
		ids[uint32(n)] = true
	}
	return ids, nil
}

// ListenUnix listens on a Unix socket that only connections of the given users get
// through. The file is anybody's to connect to: the peer is asked, not the file.
func ListenUnix(ctx context.Context, path string, users map[uint32]bool) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		_ = os.Remove(path) // what a server left that was killed
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // G302: see above
		_ = l.Close()
		return nil, err
	}
	return &socket{l, users}, nil
}

// socket closes connections of everybody else at once.
type socket struct {
	net.Listener

	users map[uint32]bool
}

func (s *socket) Accept() (net.Conn, error) {
	for {
		c, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUser(c); err == nil && s.users[uid] {
			return c, nil
		}
		_ = c.Close()
	}
}

func peerUser(c net.Conn) (uint32, error) {
	own, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a Unix socket")
	}
	raw, err := own.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	return cred.Uid, nil
}

// ConnContext marks what came through such a socket, for http.Server.ConnContext.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if _, ok := c.(*net.UnixConn); ok {
		return context.WithValue(ctx, judgedKey{}, true)
	}
	return ctx
}
