//go:build !linux && !windows

package doctor

import "errors"

func readSpace(string) (space, error) { return space{}, errors.ErrUnsupported }
