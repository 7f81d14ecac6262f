package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed assets
var assetFiles embed.FS

// asset is a file of the console, compressed once.
type asset struct {
	media         string
	plain, packed []byte
}

// assets are served under names that change with their content, and so may be
// kept for ever.
type assets struct {
	byName map[string]*asset
	hashed map[string]string // console.css -> console.1a2b3c4d5e6f.css
}

var mediaTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func loadAssets() (*assets, error) {
	a := &assets{byName: map[string]*asset{}, hashed: map[string]string{}}
	files, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		data, err := assetFiles.ReadFile("assets/" + f.Name())
		if err != nil {
			return nil, err
		}
		ext := path.Ext(f.Name())
		media, ok := mediaTypes[ext]
		if !ok {
			return nil, fmt.Errorf("dashboard: no media type for the asset %s", f.Name())
		}
		sum := sha256.Sum256(data)
		name := strings.TrimSuffix(f.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		var small bytes.Buffer
		z, err := gzip.NewWriterLevel(&small, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		if _, err := z.Write(data); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		a.byName[name] = &asset{media, data, small.Bytes()}
		a.hashed[f.Name()] = name
	}
	return a, nil
}

// path is where the asset of a name is served.
func (a *assets) path(name string) (string, error) {
	hashed, ok := a.hashed[name]
	if !ok {
		return "", fmt.Errorf("there is no asset %s", name)
	}
	return "/dashboard/assets/" + hashed, nil
}

func (c *Console) asset(w http.ResponseWriter, r *http.Request) {
	a := c.assets.byName[r.PathValue("name")]
	if a == nil {
		httpNotFound(w)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.media)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := a.plain
	if acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = a.packed
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

func httpNotFound(w http.ResponseWriter) {
	http.Error(w, "There is no such thing.", http.StatusNotFound)
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3) as far as browsers
// use it: gzip by its name, and not refused.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q := strings.ReplaceAll(params, " ", "")
			return q != "q=0" && !strings.HasPrefix(q, "q=0.000")
		}
	}
	return false
}
