package doctor

import "golang.org/x/sys/unix"

// readSpace asks the file system that dir is on.
func readSpace(dir string) (space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return space{}, err
	}
	return space{
		free:     st.Bavail * uint64(st.Bsize),
		noFiles:  st.Files > 0 && st.Ffree == 0,
		readOnly: st.Flags&unix.ST_RDONLY != 0,
	}, nil
}
