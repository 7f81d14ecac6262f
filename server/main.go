// Command sentinel-server is the control plane: it lets devices in, judges them
// and is operated with the same binary from anywhere.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
