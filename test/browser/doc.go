// Package browser drives the console in a real Chromium, over the real server and
// the real agent.
package browser
