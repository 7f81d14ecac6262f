//go:build heavy

package disk

import (
	"sync"
	"sync/atomic"
	"unsafe" //nolint:depguard // SQLite's table of functions is C's, and there is no other way to it

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// call is one of the functions that may fail.
type call int

const (
	write call = iota
	syncFile
	truncate
)

// faults is what is wrong with the disk now. It is the process's, as the VFS is.
var faults struct {
	on      atomic.Bool
	call    call
	sticky  bool // it goes on failing
	code    int32
	left    atomic.Int64 // calls that still go well
	failed  atomic.Int64
	install sync.Once
}

// breakAt lets the n-th call fail with a code, and those after it if that is sticky.
func breakAt(c call, n int, sticky bool, code int32) {
	faults.call, faults.sticky, faults.code = c, sticky, code
	faults.left.Store(int64(n - 1))
	faults.failed.Store(0)
	faults.on.Store(true)
}

// mend lets everything go well, and says how many calls failed.
func mend() int64 {
	faults.on.Store(false)
	return faults.failed.Load()
}

// fails decides the fate of one call.
func fails(c call) bool {
	if !faults.on.Load() || c != faults.call {
		return false
	}
	left := faults.left.Add(-1)
	if left > -1 || left < -1 && !faults.sticky {
		return false
	}
	faults.failed.Add(1)
	return true
}

// The functions as SQLite's C, translated to Go, calls them.
type (
	openFunc     = func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
	writeFunc    = func(*libc.TLS, uintptr, uintptr, int32, sqlite3.Tsqlite3_int64) int32
	syncFunc     = func(*libc.TLS, uintptr, int32) int32
	truncateFunc = func(*libc.TLS, uintptr, sqlite3.Tsqlite3_int64) int32
)

// pointerTo is a function as C keeps it: the address of its closure.
func pointerTo(f any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&f))[1] }

// functionAt is the function that C keeps at an address.
func functionAt[F any](at uintptr) F {
	return *(*F)(unsafe.Pointer(&struct{ at uintptr }{at}))
}

// memory is what C has at an address. The collector moves nothing of it.
func memory[T any](at uintptr) *T { return *(**T)(unsafe.Pointer(&at)) }

// kept holds what only C knows of.
var kept []any

// install puts the failing functions in front of the real ones, for every file
// that is opened from now on.
func install() {
	faults.install.Do(func() {
		tls := libc.NewTLS()
		defer tls.Close()
		at := sqlite3.Xsqlite3_vfs_find(tls, 0)
		vfs := memory[sqlite3.Tsqlite3_vfs](at)
		open := functionAt[openFunc](vfs.FxOpen)
		failing := func(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32 {
			code := open(tls, vfs, name, file, flags, out)
			if methods := memory[uintptr](file); code == sqlite3.SQLITE_OK && *methods != 0 {
				*methods = failingMethods(*methods)
			}
			return code
		}
		kept = append(kept, failing)
		vfs.FxOpen = pointerTo(failing)
	})
}

var tables struct {
	sync.Mutex
	by map[uintptr]uintptr // failing table by real one
}

// failingMethods is a table of functions as the real one, three of which may fail.
func failingMethods(real uintptr) uintptr {
	tables.Lock()
	defer tables.Unlock()
	if tables.by == nil {
		tables.by = map[uintptr]uintptr{}
	}
	if at, known := tables.by[real]; known {
		return at
	}
	table := new(sqlite3.Tsqlite3_io_methods)
	*table = *memory[sqlite3.Tsqlite3_io_methods](real)
	realWrite, realSync, realTruncate := functionAt[writeFunc](table.FxWrite), functionAt[syncFunc](table.FxSync), functionAt[truncateFunc](table.FxTruncate)
	failingWrite := func(tls *libc.TLS, file, data uintptr, n int32, at sqlite3.Tsqlite3_int64) int32 {
		if fails(write) {
			return faults.code
		}
		return realWrite(tls, file, data, n, at)
	}
	failingSync := func(tls *libc.TLS, file uintptr, flags int32) int32 {
		if fails(syncFile) {
			return faults.code
		}
		return realSync(tls, file, flags)
	}
	failingTruncate := func(tls *libc.TLS, file uintptr, size sqlite3.Tsqlite3_int64) int32 {
		if fails(truncate) {
			return faults.code
		}
		return realTruncate(tls, file, size)
	}
	table.FxWrite, table.FxSync, table.FxTruncate = pointerTo(failingWrite), pointerTo(failingSync), pointerTo(failingTruncate)
	kept = append(kept, table, failingWrite, failingSync, failingTruncate)
	at := uintptr(unsafe.Pointer(table))
	tables.by[real] = at
	return at
}
