// Package dashboard is the operator console: pages that the server renders, under
// /dashboard, and the page at /.
//
// It is one more surface beside the admin API, over the same services and the same
// reads of view; a page decides nothing by itself. Its callers are known by the
// cookie __Host-sentinel and by nothing else: a token of the API opens no page, and
// the cookie opens no route of the API.
//
// Every page works without JavaScript, for reading and for its plain forms. What
// the one script adds is comfort: pages that follow what happens, times that stay
// relative, dialogs that ask before an act, passkeys. The policy of every answer
// (default-src 'none') lets nothing run that is not one of the embedded assets, so
// that text which got past the escaping of html/template would still only be text.
//
// A page and its live form are one handler: asked for with Accept:
// text/event-stream, it sends the fragments of the page that changed, each
// rendered by the template that rendered it first.
package dashboard
