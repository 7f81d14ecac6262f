// Package merkle is a binary hash tree over a list, so that one digest stands for
// all of it and a short proof shows that one item is in it, at its place.
//
// The tree is that of RFC 9162 section 2.1 with SHA-256: leaves and nodes are
// hashed under different prefixes, so that neither passes for the other, and a
// list whose length is no power of two has one shape. A proof is worth something
// only beside a root and a length that are believed.
package merkle

import (
	"crypto/sha256"
	"errors"
	"math/bits"
)

// Hash is a digest in the tree.
type Hash = [sha256.Size]byte

// ErrProof says that a proof does not lead from the leaf to the root.
var ErrProof = errors.New("the proof does not lead to the root")

// The prefixes of RFC 9162 section 2.1.1.
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

// Leaf is the hash of one item.
func Leaf(item []byte) Hash {
	h := sha256.New()
	h.Write([]byte{leafPrefix})
	h.Write(item)
	return Hash(h.Sum(nil))
}

func node(left, right Hash) Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = nodePrefix
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// Root is the hash of the whole list. That of an empty list is SHA-256 of nothing.
func Root(leaves []Hash) Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	k := split(len(leaves))
	return node(Root(leaves[:k]), Root(leaves[k:]))
}

// split is the largest power of two below n, for n above 1.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// Tree keeps every hash of a list, so that proofs cost no hashing.
type Tree struct {
	levels [][]Hash // levels[0] are the leaves; a node without a sibling moves up as it is
}

// New hashes the whole list.
func New(leaves []Hash) *Tree {
	t := &Tree{levels: [][]Hash{leaves}}
	for level := leaves; len(level) > 1; level = t.levels[len(t.levels)-1] {
		up := make([]Hash, 0, (len(level)+1)/2)
		for i := 0; i+1 < len(level); i += 2 {
			up = append(up, node(level[i], level[i+1]))
		}
		if len(level)%2 == 1 {
			up = append(up, level[len(level)-1])
		}
		t.levels = append(t.levels, up)
	}
	return t
}

// Root is the hash of the whole list, as the function Root makes it.
func (t *Tree) Root() Hash {
	if len(t.levels[0]) == 0 {
		return Root(nil)
	}
	return t.levels[len(t.levels)-1][0]
}

// Proof is the inclusion proof of the item at index, which must be in the list
// (RFC 9162 section 2.1.3.1).
func (t *Tree) Proof(index int) []Hash {
	var proof []Hash
	for _, level := range t.levels[:len(t.levels)-1] {
		if sibling := index ^ 1; sibling < len(level) {
			proof = append(proof, level[sibling])
		}
		index /= 2
	}
	return proof
}

// Verify makes sure that the leaf stands at index in the list of size items that
// has the root (RFC 9162 section 2.1.3.2), or is ErrProof.
func Verify(leaf Hash, index, size uint64, proof []Hash, root Hash) error {
	if index >= size {
		return ErrProof
	}
	at, last, hash := index, size-1, leaf
	for _, p := range proof {
		if last == 0 {
			return ErrProof
		}
		if at&1 == 1 || at == last {
			hash = node(p, hash)
			for at&1 == 0 && at != 0 {
				at, last = at>>1, last>>1
			}
		} else {
			hash = node(hash, p)
		}
		at, last = at>>1, last>>1
	}
	if last != 0 || hash != root {
		return ErrProof
	}
	return nil
}
