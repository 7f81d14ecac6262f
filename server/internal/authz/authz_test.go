package authz

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

func TestRolesHoldWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	holders := func(p Permission) []Role {
		var out []Role
		for _, r := range Roles() {
			if r.Has(p) {
				out = append(out, r)
			}
		}
		return out
	}
	for p, want := range map[Permission][]Role{
		Self:              {Viewer, Operator, Approver, Security, Admin},
		DeviceRead:        {Viewer, Operator, Approver, Security, Admin},
		EnrollmentRead:    {Viewer, Operator, Approver, Security, Admin},
		FleetRead:         {Viewer, Operator, Approver, Security, Admin},
		DeviceSuspend:     {Operator, Security, Admin},
		DeviceRevoke:      {Operator, Security, Admin},
		DeviceResume:      {Security},
		DeviceResync:      {Security},
		DeviceReview:      {Approver, Security},
		AccountReview:     {Security, Admin},
		EnrollmentReview:  {Approver},
		EnrollTokenRead:   {Operator, Security, Admin},
		EnrollTokenCreate: {Operator, Admin},
		EnrollTokenRevoke: {Operator, Security, Admin},
		EnrollWindowOpen:  {Approver, Security},
		EnrollWindowClose: {Operator, Approver, Security, Admin},
		ApprovalRead:      {Operator, Approver, Security, Admin},
		AuditRead:         {Security, Admin},
		PKIStop:           {Operator, Security, Admin},
		PKIStart:          {Security, Admin},
		PKIReview:         {Approver},
		BaselinePropose:   {Operator, Admin},
		BaselineReview:    {Approver},
		BaselineRetire:    {Operator, Security, Admin},
		AccountRead:       {Security, Admin},
		AccountManage:     {Admin},
		SessionManage:     {Security, Admin},
		APITokenRead:      {Security, Admin},
		APITokenCreate:    {Admin},
		APITokenRevoke:    {Security, Admin},
	} {
		if got := holders(p); !slices.Equal(got, want) {
			t.Errorf("%s is held by %v, want %v", p, got, want)
		}
	}
}

func TestEveryPermissionIsListedOnceAndHeldBySomeone(t *testing.T) {
	t.Parallel()
	all := Permissions()
	for i, p := range all {
		if slices.Contains(all[:i], p) {
			t.Errorf("%s is listed twice", p)
		}
		if !slices.ContainsFunc(Roles(), func(r Role) bool { return r.Has(p) }) {
			t.Errorf("no role holds %s", p)
		}
	}
	for _, r := range Roles() {
		for _, p := range r.Permissions() {
			if !p.Known() {
				t.Errorf("%s holds %s, which is not in the list", r, p)
			}
		}
	}
}

// A new permission is a person's until it is listed; one whose verb decides, lets in,
// gives back or manages stays so.
func TestNoMachineDecides(t *testing.T) {
	t.Parallel()
	persons := []string{"review", "approve", "decide", "vote", "open", "resume", "resync", "manage", "grant", "lift"}
	machines := 0
	for _, p := range Permissions() {
		_, verb, _ := strings.Cut(string(p), ":")
		if p.ForMachines() && (verb == "" || slices.Contains(persons, verb) || strings.HasPrefix(string(p), "api-token:") || strings.HasPrefix(string(p), "account:")) {
			t.Errorf("an API token may have %s", p)
		}
		if p.ForMachines() {
			machines++
		}
	}
	if machines == 0 || machines != len(forMachines) || Permission("device:everything").ForMachines() {
		t.Errorf("%d permissions of %d are for machines", machines, len(forMachines))
	}
}

func TestNoRoleBringsADeviceAndLetsItInAlone(t *testing.T) {
	t.Parallel()
	for _, r := range Roles() {
		if r.Has(EnrollTokenCreate) && (r.Has(EnrollmentReview) || r.Has(EnrollWindowOpen)) {
			t.Errorf("%s can enroll a device alone", r)
		}
	}
}

func TestNoRoleAsksForACommandAndReviewsIt(t *testing.T) {
	t.Parallel()
	for _, r := range Roles() {
		if r.Has(CommandCreate) && r.Has(CommandReview) {
			t.Errorf("%s can have a command done alone", r)
		}
	}
}

func TestNoRoleHasIssuingStartedAlone(t *testing.T) {
	t.Parallel()
	for _, r := range Roles() {
		if r.Has(PKIStart) && r.Has(PKIReview) {
			t.Errorf("%s can start issuing alone", r)
		}
	}
}

func TestNoRoleProposesABaselineAndReviewsIt(t *testing.T) {
	t.Parallel()
	for _, r := range Roles() {
		if r.Has(BaselinePropose) && r.Has(BaselineReview) {
			t.Errorf("%s can put a baseline into force alone", r)
		}
	}
}

func TestWhatIsNotARoleMayNothing(t *testing.T) {
	t.Parallel()
	for _, r := range []Role{"", "Admin", "root", "admin "} {
		if r.Known() || r.Has(Self) || len(r.Permissions()) != 0 {
			t.Errorf("%q counts as a role", r)
		}
	}
}

func TestListsCannotBeChangedThroughWhatTheyReturn(t *testing.T) {
	t.Parallel()
	Viewer.Permissions()[0] = AccountManage
	Permissions()[0] = "other"
	if Viewer.Has(AccountManage) || !Self.Known() {
		t.Fatal("a caller changed the table")
	}
}

func TestAnAuthorityWithoutACheckIsNone(t *testing.T) {
	t.Parallel()
	if err := (By{Actor: audit.Actor{Kind: audit.System, ID: "x"}}).Still(context.Background(), db.Tx{}); !errors.Is(err, ErrDenied) {
		t.Fatalf("got %v, want ErrDenied", err)
	}
	if err := System("jobs").Still(context.Background(), db.Tx{}); err != nil {
		t.Fatalf("the server itself: %v", err)
	}
}
