package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
)

// settings are how reading them went, and who may see and change their file.
type settings struct {
	file    string // "" for none
	err     error  // of reading them
	statErr error  // of opening the file
	mode    fs.FileMode
	owner   int  // -1 where files have none
	self    int  // who runs this, -1 likewise
	secret  bool // the file holds a token or a proxy's password
}

func lookAtSettings(ctx context.Context, s *subject) Result {
	file, err := s.SettingsFile, s.SettingsErr
	found, hung := within(ctx, func() settings { return statSettings(file) })
	if hung != nil {
		return fail("the settings file cannot be read: "+hung.Error(), "move it to a local disk")
	}
	found.err = err
	return judgeSettings(found)
}

func statSettings(file string) settings {
	found := settings{file: file, owner: -1, self: -1}
	if file == "" {
		return found
	}
	f, err := os.Open(file)
	if err != nil {
		found.statErr = err
		return found
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		found.statErr = err
		return found
	}
	found.mode = info.Mode()
	found.owner, found.self = owner(info)
	if c, err := config.Load(config.Sources{File: file}); err == nil {
		found.secret = c.Token != "" || c.Proxy != nil && c.Proxy.User != nil
	}
	return found
}

func judgeSettings(f settings) Result {
	switch perm := f.mode.Perm(); {
	case f.err != nil:
		return fail(problems(f.err), app.Advise(f.err))
	case f.file == "":
		return ok("from flags and environment alone; there is no settings file")
	case errors.Is(f.statErr, fs.ErrPermission):
		return warn(f.file+" may not be read by who runs this", "run it as root, or as an administrator: the service may have other settings than are looked at here")
	case f.statErr != nil:
		return fail(f.statErr.Error(), "name a settings file that is there with --config, or none")
	case f.owner > 0 && f.owner != f.self:
		return fail(fmt.Sprintf("%s belongs to uid %d, who may change it", f.file, f.owner), "chown root "+f.file)
	case f.secret && perm&0o044 != 0:
		return warn(fmt.Sprintf("%s holds a secret, and others may read it (mode %04o)", f.file, perm), "chmod 600 "+f.file)
	}
	return ok("%s is in order", f.file)
}

// problems in one line. They never hold a value.
func problems(err error) string {
	list, is := errors.AsType[config.Problems](err)
	if !is {
		return err.Error()
	}
	said := make([]string, len(list))
	for i, p := range list {
		said[i] = p.Where + ": " + p.Fix
	}
	return strings.Join(said, "; ")
}
