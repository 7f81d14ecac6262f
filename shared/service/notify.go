package service

import (
	"net"
	"os"
)

// What Notify tells systemd, see sd_notify(3).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// Notify tells systemd about the state of this process. The units wait for
// Ready before they count a start as done. Without systemd it does nothing; an
// error is not reported, since there is nothing that the caller could do.
func Notify(state string) { notify(os.Getenv("NOTIFY_SOCKET"), state) }

func notify(socket, state string) {
	if socket == "" {
		return
	}
	// Package net turns a leading @ into an abstract address, as systemd means it.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = conn.Write([]byte(state))
}
