package httpkit

import (
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// The codes that people's surfaces add to those of the device protocol.
const (
	CodeUnauthenticated protocol.Code = "unauthenticated"        // sign in (again)
	CodeSignIn          protocol.Code = "sign-in-failed"         // name or password is wrong
	CodeStepDue         protocol.Code = "step-due"               // signed in by half: take the step that is due
	CodeWrongCode       protocol.Code = "code-wrong"             // the second step failed
	CodePasskey         protocol.Code = "passkey-refused"        // the passkey was not accepted
	CodeCrossSite       protocol.Code = "cross-site"             // a page of another origin caused it
	CodeInvitation      protocol.Code = "invitation-refused"     // not valid, or not for this name
	CodeBreakGlass      protocol.Code = "break-glass-refused"    // the two codes open nothing
	CodeFreshSignIn     protocol.Code = "fresh-sign-in-needed"   // the sign-in is too long ago for this
	CodeForbidden       protocol.Code = "forbidden"              // signed in, and not permitted
	CodeMethod          protocol.Code = "method-not-allowed"     // see Allow
	CodeMediaType       protocol.Code = "unsupported-media-type" //
	CodeInvalid         protocol.Code = "invalid"                // well formed, and against a rule
	CodeConflict        protocol.Code = "conflict"               // not possible as things stand
)

type meaning struct {
	status int
	title  string
}

// codes is the one table of what a code is on the wire.
var codes = map[protocol.Code]meaning{
	protocol.CodeTokenUnknown:   {http.StatusForbidden, "The enrollment token is not known"},
	protocol.CodeTokenUsedUp:    {http.StatusForbidden, "The enrollment token is used up"},
	protocol.CodeTokenExpired:   {http.StatusForbidden, "The enrollment token has expired"},
	protocol.CodeTokenRevoked:   {http.StatusForbidden, "The enrollment token was revoked"},
	protocol.CodeCSRMalformed:   {http.StatusUnprocessableEntity, "The certificate request cannot be read"},
	protocol.CodeCSRSignature:   {http.StatusUnprocessableEntity, "The certificate request is not signed by its own key"},
	protocol.CodeWeakKey:        {http.StatusUnprocessableEntity, "The key is of a kind or size that is not taken"},
	protocol.CodeWrongName:      {http.StatusUnprocessableEntity, "The certificate request names another device"},
	protocol.CodeExtraNames:     {http.StatusUnprocessableEntity, "The certificate request asks for more than its name"},
	protocol.CodeDeviceExists:   {http.StatusConflict, "The device_id is taken"},
	protocol.CodeDeviceGone:     {http.StatusConflict, "The device_id was revoked or retired for good"},
	protocol.CodeEnrollConflict: {http.StatusConflict, "The enrollment_id belongs to another request"},
	protocol.CodeEnrollUnknown:  {http.StatusNotFound, "There is no such enrollment"},
	protocol.CodeEnrollFull:     {http.StatusServiceUnavailable, "Other requests wait for review first"},
	protocol.CodePollInvalid:    {http.StatusForbidden, "Not signed by the key that enrolls"},
	protocol.CodeNonceStale:     {http.StatusConflict, "The nonce is not the last one given"},
	protocol.CodeCAMismatch:     {http.StatusForbidden, "The device sees another server CA"},

	protocol.CodeCertificateMissing: {http.StatusUnauthorized, "A client certificate is needed"},
	protocol.CodeCertificateUnknown: {http.StatusUnauthorized, "The client certificate is not one on record"},
	protocol.CodeCertificateLost:    {http.StatusUnauthorized, "The client certificate was lost when the server's database was brought back from a backup"},
	protocol.CodeCertificateExpired: {http.StatusUnauthorized, "The client certificate has expired"},
	protocol.CodeCertificateNotYet:  {http.StatusUnauthorized, "The client certificate is not valid yet"},
	protocol.CodeIdentityMismatch:   {http.StatusForbidden, "The message names another device than the certificate"},
	protocol.CodeDeviceRevoked:      {http.StatusForbidden, "The device was revoked"},
	protocol.CodeDeviceSuspended:    {http.StatusForbidden, "The device is suspended"},
	protocol.CodeDeviceHeld:         {http.StatusForbidden, "The device is held until a person looks at it"},
	protocol.CodeDeviceUnknown:      {http.StatusForbidden, "The device is not known"},

	protocol.CodeReviewPending:      {http.StatusForbidden, "A person has to let the certificate in first"},
	protocol.CodeReviewRejected:     {http.StatusForbidden, "The certificate was not let in"},
	protocol.CodeCertificateRevoked: {http.StatusUnauthorized, "The client certificate was revoked by its authority"},
	protocol.CodeRevocationUnknown:  {http.StatusServiceUnavailable, "It is not known yet whether the client certificate is revoked"},
	protocol.CodeIssuedElsewhere:    {http.StatusConflict, "Certificates of this device come from another authority"},

	protocol.CodeCounterStale: {http.StatusConflict, "The counter is not above the stored one"},
	protocol.CodeCounterJump:  {http.StatusConflict, "The counter is too far ahead"},
	protocol.CodeEpochChanged: {http.StatusConflict, "The server was restored: go on in the new epoch"},

	protocol.CodeRenewalInvalid:  {http.StatusForbidden, "The renewal is not signed by the keys that it must be signed by"},
	protocol.CodeRenewalConflict: {http.StatusConflict, "Another request of this device is under way"},
	protocol.CodeRenewalEarly:    {http.StatusTooManyRequests, "The device renews too often"},
	protocol.CodeRecoveryLate:    {http.StatusForbidden, "The certificate expired too long ago"},

	protocol.CodeIssuingStopped: {http.StatusServiceUnavailable, "No certificates are issued for now"},

	protocol.CodeAttestationOff:       {http.StatusConflict, "No evidence of TPMs is taken here"},
	protocol.CodeEndorsementUntrusted: {http.StatusForbidden, "The TPM's certificate does not lead to a maker that is believed"},
	protocol.CodeAttestationKey:       {http.StatusUnprocessableEntity, "The attestation key is of a form that is not taken"},
	protocol.CodeTPMChanged:           {http.StatusForbidden, "The device has another TPM than the one on record"},
	protocol.CodeTPMTaken:             {http.StatusForbidden, "The TPM is on record for another device"},
	protocol.CodeChallengeUnknown:     {http.StatusConflict, "There is no such challenge"},
	protocol.CodeChallengeUsed:        {http.StatusConflict, "The challenge was used before"},
	protocol.CodeChallengeExpired:     {http.StatusConflict, "The challenge has expired"},
	protocol.CodeChallengeForeign:     {http.StatusForbidden, "The challenge was made for another device, enrollment or certificate"},

	protocol.CodeMalformed:   {http.StatusBadRequest, "The request cannot be read"},
	protocol.CodeTooLarge:    {http.StatusRequestEntityTooLarge, "The request is too large"},
	protocol.CodeRateLimited: {http.StatusTooManyRequests, "Too many requests"},
	protocol.CodeNotReady:    {http.StatusServiceUnavailable, "The server cannot judge now"},
	protocol.CodeNotFound:    {http.StatusNotFound, "There is no such thing"},
	protocol.CodeInternal:    {http.StatusInternalServerError, "Something went wrong in the server"},

	CodeUnauthenticated: {http.StatusUnauthorized, "Sign in"},
	CodeSignIn:          {http.StatusUnauthorized, "Name or password is wrong"},
	CodeStepDue:         {http.StatusUnauthorized, "The sign-in is not complete"},
	CodeWrongCode:       {http.StatusUnauthorized, "The code is not right"},
	CodePasskey:         {http.StatusUnauthorized, "The passkey was not accepted; begin again"},
	CodeCrossSite:       {http.StatusForbidden, "Caused by a page of another site"},
	CodeInvitation:      {http.StatusForbidden, "The invitation is not valid, or not for this name"},
	CodeBreakGlass:      {http.StatusForbidden, "The two codes do not open anything"},
	CodeFreshSignIn:     {http.StatusForbidden, "Sign in again first"},
	CodeForbidden:       {http.StatusForbidden, "Not permitted"},
	CodeMethod:          {http.StatusMethodNotAllowed, "The method is not allowed here"},
	CodeMediaType:       {http.StatusUnsupportedMediaType, "The body has another media type than is taken here"},
	CodeInvalid:         {http.StatusUnprocessableEntity, "The request breaks a rule"},
	CodeConflict:        {http.StatusConflict, "Not possible as things stand"},
}
