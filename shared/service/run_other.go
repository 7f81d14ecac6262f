//go:build !windows

package service

import "context"

func runAsService(_ Spec, run func(ctx context.Context) error) error { return runInForeground(run) }
