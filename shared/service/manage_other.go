//go:build !linux && !windows

package service

import native "github.com/kardianos/service"

const superuser = "root"

func supported() bool { return false }

func removable(Spec) error { return ErrNoManager }

func forget(Spec) {}

func logOf(Spec) string { return "the log of its manager" }

func install(Spec) error { return ErrNoManager }

func nativeConfig(s Spec) *native.Config { return &native.Config{Name: s.Name} }
