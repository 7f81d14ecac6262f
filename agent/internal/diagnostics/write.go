package diagnostics

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/doctor"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// ErrExists says that there is a file of this name. It is never overwritten.
var ErrExists = errors.New("there is a file of this name already")

// Warning is told to the person, and stands in the manifest.
const Warning = "It holds host names, addresses, and the names of device and server; no key, token, password, nonce or receipt. " +
	"Look through it before you give it away."

// maxMember is more than any member has: a full chain of fleet roots is the longest.
const maxMember = 8 << 20

// Options are what is gathered, and whereto.
type Options struct {
	Doctor doctor.Options
	Out    string                                // "" for a name of its own in the current directory
	Log    func(context.Context) ([]byte, error) // such as ServiceLog

	dir string
	now time.Time
}

// Manifest says what is in the bundle. It is in it itself, as manifest.json.
type Manifest struct {
	Format  int       `json:"format"`
	MadeAt  time.Time `json:"made_at"`
	Version string    `json:"agent_version"`
	Warning string    `json:"warning"`
	Members []Member  `json:"members"`
	Missing []Missing `json:"missing"`
}

// Member is one file.
type Member struct {
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Missing is a file that could not be had.
type Missing struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Written is a bundle on the disk.
type Written struct {
	Path     string
	Manifest Manifest
	Report   *doctor.Report
}

// Write gathers everything and writes it, for its owner alone (mode 0600). What
// cannot be had is named in the manifest, and no error. ErrExists if there is a
// file of that name.
func Write(ctx context.Context, o Options) (*Written, error) {
	o.dir, o.now = o.Doctor.Config.StateDir, o.Doctor.Now().UTC().Truncate(time.Second)
	g := &gathering{Options: o}
	g.state, g.stateErr = journal.Read(o.dir)
	w := &Written{Path: o.Out, Manifest: Manifest{Format: 1, MadeAt: o.now, Version: version.String(), Warning: Warning, Missing: []Missing{}}}
	name := bundleName(g.state.DeviceID, o.now)
	if w.Path == "" {
		w.Path = name + ".zip"
	}
	if _, err := os.Lstat(w.Path); err == nil { // before all the work
		return nil, fmt.Errorf("%s: %w", w.Path, ErrExists)
	}
	g.report = doctor.Run(ctx, o.Doctor)
	w.Report = g.report
	data, err := w.pack(ctx, g, name)
	if err != nil {
		return nil, err
	}
	return w, store(w.Path, data)
}

// bundleName is also the name of the folder inside. A device_id is fit for one.
func bundleName(deviceID string, now time.Time) string {
	if deviceID == "" {
		deviceID = "not-enrolled"
	}
	return "sentinel-diagnostics-" + deviceID + "-" + now.Format("20060102T150405Z")
}

func (w *Written) pack(ctx context.Context, g *gathering, folder string) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name string, data []byte) error {
		h := &zip.FileHeader{Name: folder + "/" + name, Method: zip.Deflate, Modified: g.now}
		h.SetMode(0o600)
		f, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return err
	}
	s := newSieve(g.secrets())
	for _, m := range members {
		data, err := m.make(ctx, g)
		if err == nil && len(data) > maxMember {
			err = fmt.Errorf("longer than %d bytes", maxMember)
		}
		if err != nil {
			w.Manifest.Missing = append(w.Manifest.Missing, Missing{m.name, string(s.cleanText([]byte(err.Error())))})
			continue
		}
		if data = s.clean(data); m.text {
			data = s.cleanText(data)
		}
		sum := sha256.Sum256(data)
		w.Manifest.Members = append(w.Manifest.Members, Member{m.name, len(data), hex.EncodeToString(sum[:])})
		if err := add(m.name, data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", m.name, err)
		}
	}
	manifest, err := asJSON(w.Manifest)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(add("manifest.json", manifest), z.Close()); err != nil {
		return nil, fmt.Errorf("pack the manifest: %w", err)
	}
	return b.Bytes(), nil
}

// store makes a new file: O_EXCL follows no link either (open(2)).
func store(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", path, ErrExists)
	}
	if err != nil {
		return fmt.Errorf("make the bundle: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(path)
			err = fmt.Errorf("write the bundle: %w", err)
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	return f.Close()
}
