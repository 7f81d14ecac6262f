//go:build !linux

package diagnostics

import (
	"context"
	"errors"
)

// ServiceLog is the last lines of the service's log. They are not gathered here.
func ServiceLog(context.Context) ([]byte, error) {
	return nil, errors.New("the log is not gathered on this system; add it yourself, without secrets")
}
