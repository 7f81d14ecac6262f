// Package browser drives the console in a real Chromium, over the real server and
// the real agent: what a person sees, presses and is asked.
//
// Its tests need a browser and the build tag "browser"; "make test-browser" brings
// the one and sets the other. Screenshots of every page, light and dark, wide and
// narrow, stay in dist/screenshots.
//
// testdata/axe-core holds axe.min.js 4.10.3 of Deque Systems, under the Mozilla
// Public License 2.0 beside it, unchanged (a test compares its SHA-256). It judges
// the pages here and is no part of the product.
package browser
