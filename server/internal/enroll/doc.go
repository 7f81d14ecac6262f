// Package enroll is how a device asks to be let in: tokens, enrollments and the
// open window.
//
// A token is made by an operator, shown once and stored as a hash. It is limited
// by uses and time, can be revoked, and says when and by which device it was last
// used. It may give the device a name, an owner and labels, and mark it as
// sensitive.
//
// An enrollment is pending until a person approves or rejects it, approved until
// the device fetches its certificate, then issued; rejected and expired are final.
// A use of the token is taken with the enrollment, in one transaction. Several
// enrollments may wait for one device_id: the first that is issued wins, and the
// others end.
//
// An open window lets devices in without a review, for a while, by a deliberate
// act that is audited. A sensitive token is reviewed even then.
package enroll
