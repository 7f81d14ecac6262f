package merkle_test

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/merkle"
)

func leaves(n int) []merkle.Hash {
	list := make([]merkle.Hash, n)
	for i := range list {
		list[i] = merkle.Leaf(fmt.Appendf(nil, "item %d", i))
	}
	return list
}

// The inputs and roots are those that implementations of RFC 6962 publish.
func TestTheRootsAreThePublishedOnes(t *testing.T) {
	t.Parallel()
	inputs := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	var list []merkle.Hash
	for i, in := range inputs {
		data, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, merkle.Leaf(data))
		root := merkle.Root(list)
		if hex.EncodeToString(root[:]) != roots[i] {
			t.Errorf("the root of %d items is %x", i+1, root)
		}
	}
	if empty := merkle.Root(nil); hex.EncodeToString(empty[:]) != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("the root of nothing is %x", empty)
	}
}

func TestEveryItemIsProvenAtItsPlaceAndAtNoOther(t *testing.T) {
	t.Parallel()
	for size := 1; size <= 40; size++ {
		list := leaves(size)
		tree := merkle.New(list)
		root := merkle.Root(list)
		if tree.Root() != root {
			t.Fatalf("size %d: tree and list disagree", size)
		}
		for i := range list {
			proof := tree.Proof(i)
			if err := merkle.Verify(list[i], uint64(i), uint64(size), proof, root); err != nil {
				t.Errorf("size %d, item %d: %v", size, i, err)
			}
			for j := range list {
				if j != i && merkle.Verify(list[i], uint64(j), uint64(size), proof, root) == nil {
					t.Errorf("size %d: item %d passes at %d", size, i, j)
				}
			}
			if merkle.Verify(merkle.Leaf([]byte("another")), uint64(i), uint64(size), proof, root) == nil {
				t.Errorf("size %d: another item passes at %d", size, i)
			}
		}
	}
}

func TestABentProofIsRefused(t *testing.T) {
	t.Parallel()
	list := leaves(13)
	tree, root := merkle.New(list), merkle.Root(list)
	for i := range list {
		good := tree.Proof(i)
		bent := map[string][]merkle.Hash{
			"one more": append(append([]merkle.Hash{}, good...), merkle.Leaf(nil)),
			"one less": good[:len(good)-1],
			"none":     nil,
		}
		for n := range good {
			changed := append([]merkle.Hash{}, good...)
			changed[n][5] ^= 1
			bent[fmt.Sprintf("hash %d changed", n)] = changed
		}
		for name, proof := range bent {
			if merkle.Verify(list[i], uint64(i), 13, proof, root) == nil {
				t.Errorf("item %d: a proof with %s passes", i, name)
			}
		}
		if merkle.Verify(list[i], uint64(i), uint64(i), good, root) == nil {
			t.Errorf("item %d passes in a list that is too short", i)
		}
	}
}
