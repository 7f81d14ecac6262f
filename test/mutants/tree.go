package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tree is a copy of the repository in which one patch at a time is applied.
type tree struct {
	dir string
}

// copyTree copies what git knows and what it would not ignore, as it stands in
// the working directory, so that a patch can be tried before it is committed.
func copyTree(ctx context.Context, root, dir string) (tree, error) {
	list, err := git(ctx, root, nil, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return tree{}, fmt.Errorf("list the files of the repository: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		err := copyFile(filepath.Join(root, name), filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // deleted, and not committed yet
			return tree{}, err
		}
	}
	return tree{dir: dir}, nil
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

// apply applies a patch as a whole or not at all.
func (t tree) apply(ctx context.Context, path string) error {
	return t.patch(ctx, path)
}

func (t tree) revert(ctx context.Context, path string) error {
	return t.patch(ctx, "--reverse", path)
}

// patch runs git apply in the copy, which is no repository. Were it inside one,
// git would leave out the paths that this one ignores, and say nothing.
func (t tree) patch(ctx context.Context, args ...string) error {
	outside := []string{"GIT_CEILING_DIRECTORIES=" + filepath.Dir(t.dir), "GIT_DIR="}
	_, err := git(ctx, t.dir, outside, append([]string{"apply"}, args...)...)
	return err
}

// git returns the output of git in dir, and an error that holds its complaint.
// An empty change of the environment ("NAME=") takes the variable away.
func git(ctx context.Context, dir string, changes []string, args ...string) (string, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &complaint
	cmd.Env = environment(changes)
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("git %s: %w\n%s", args[0], err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

func environment(changes []string) []string {
	env := os.Environ()
	for _, change := range changes {
		key, value, _ := strings.Cut(change, "=")
		kept := env[:0]
		for _, entry := range env {
			if !strings.HasPrefix(entry, key+"=") {
				kept = append(kept, entry)
			}
		}
		env = kept
		if value != "" {
			env = append(env, change)
		}
	}
	return env
}
