// Package protocol is what a device and the server say to each other: the
// shapes on the wire, their limits, the problems a refusal can name, and the
// strict decoding that both sides put in front of them.
//
// A message is JSON with a known set of members. The server refuses unknown
// members, duplicate members, trailing data and anything over a limit; the agent
// refuses the same, except that it lets unknown members pass, so that a newer
// server can say more to an older agent.
//
// A device has one identity (device_id) for life and one enrollment_id per time
// that it joined. Its heartbeats carry a counter that only rises, inside an
// epoch that changes when the server's database was restored. A counter is never
// sent twice: the agent stores the next one before it sends it.
//
// What must hold beyond the connection is signed (package signing): the
// enrollment poll by the device's key, the fleet root and the policy bundle by
// keys that need not be on the server.
package protocol
