// Package extca judges the certificates of devices that another authority than ours
// issued.
//
// The settings name the authorities that issue to devices, and what may lie above them.
// A certificate is a device's when all of this holds, at the time of the request:
//
//   - a listed authority signed it, and, where what lies above is listed too, the whole
//     path up to a listed root verifies: signatures, dates, basic constraints and path
//     lengths, name constraints, and no critical extension that is not understood
//   - its key is one that the device protocol takes, and no key above it is weak or so
//     large that verifying costs much
//   - it lists every usage that is asked for, and nothing above it forbids one
//   - it is not a CA's
//   - one name in it, of the kind that the settings say, is the device's: exactly one of
//     that kind is there, and its bytes are the pattern with one device_id in it
//   - where that is asked for, its common name is the device_id too
//
// Nothing is taken from what else the caller presented. Of revocation it says nothing:
// see package revocation. A certificate that passes opens a review; it lets nobody in.
package extca
