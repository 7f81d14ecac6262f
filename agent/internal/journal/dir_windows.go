//go:build windows

package journal

import (
	"fmt"
	"os"
	"unsafe" //nolint:depguard // access lists are read by address

	"golang.org/x/sys/windows"
)

// privateSDDL: protected (nothing inherited), full control for the system, the
// administrators and the owner.
const privateSDDL = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)"

// makePrivate gives the directory its access list as it is made, so that there
// is no moment in which others may enter.
func makePrivate(dir string) error {
	sd, err := windows.SecurityDescriptorFromString(privateSDDL)
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	sa := windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(sa))
	return windows.CreateDirectory(name, &sa)
}

// checkOwner wants the owner, and everybody whom the access list lets in, to be
// the system, the administrators or who runs this.
func checkOwner(dir string, _ os.FileInfo) error {
	sd, err := windows.GetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("read who may enter the state directory: %w", err)
	}
	own, err := ownSIDs()
	if err != nil {
		return err
	}
	owner, _, err := sd.Owner()
	if err != nil || !contains(own, owner) {
		return fmt.Errorf("%w: %s belongs to someone else", ErrLoose, dir)
	}
	dacl, _, err := sd.DACL()
	if err != nil || dacl == nil { // no list lets everybody in
		return fmt.Errorf("%w: %s has no access list", ErrLoose, dir)
	}
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return fmt.Errorf("read who may enter the state directory: %w", err)
		}
		switch ace.Header.AceType {
		case windows.ACCESS_DENIED_ACE_TYPE:
		case windows.ACCESS_ALLOWED_ACE_TYPE:
			//nolint:gosec // the SID begins in this field and goes on behind it, as ACCESS_ALLOWED_ACE says
			if sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart)); !contains(own, sid) {
				return fmt.Errorf("%w: %s lets in %s", ErrLoose, dir, sid)
			}
		default: // a kind of entry that was not put there by the agent
			return fmt.Errorf("%w: %s has an entry of type %d in its access list", ErrLoose, dir, ace.Header.AceType)
		}
	}
	return nil
}

func ownSIDs() ([]*windows.SID, error) {
	var own []*windows.SID
	for _, known := range []windows.WELL_KNOWN_SID_TYPE{
		windows.WinLocalSystemSid, windows.WinBuiltinAdministratorsSid, windows.WinCreatorOwnerRightsSid,
	} {
		sid, err := windows.CreateWellKnownSid(known)
		if err != nil {
			return nil, fmt.Errorf("name the system's accounts: %w", err)
		}
		own = append(own, sid)
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("find out who runs this: %w", err)
	}
	return append(own, user.User.Sid), nil
}

func contains(list []*windows.SID, sid *windows.SID) bool {
	for _, s := range list {
		if s.Equals(sid) {
			return true
		}
	}
	return false
}
