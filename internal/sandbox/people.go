package sandbox

import (
	"slices"

	"github.com/selo-id/selo"
)

// TestPerson is a CPF that decides the outcome of a run which names none.
type TestPerson struct {
	CPF     selo.CPF
	Outcome Outcome
	Note    string // for people
}

// testPeople are nobody: their numbers are counted up from 100000001, with the check digits they must have.
// The demo's users are not among them, so that a demo approves.
var testPeople = []TestPerson{
	{mustCPF("100.000.001-08"), OutcomeNotAlive, "holds a photograph before the camera"},
	{mustCPF("100.000.002-80"), OutcomeNoMatch, "is alive, and is somebody else"},
	{mustCPF("100.000.003-61"), OutcomeKnownContext, "has a device that Smart Auth knows, and is asked for nothing"},
	{mustCPF("100.000.004-42"), OutcomeReauthenticated, "passes Smart Auth's challenge by SMS"},
	{mustCPF("100.000.005-23"), OutcomePending, "has not finished Smart Auth's challenge"},
	{mustCPF("100.000.006-04"), OutcomeNotAuthorized, "fails Smart Auth's challenge"},
}

// TestPeople returns the CPFs that decide the outcome of a run which names none. In a product that does
// not have the outcome, they are approved like everybody else.
func TestPeople() []TestPerson { return slices.Clone(testPeople) }

// outcomeOf returns how a run of p by cpf ends when nobody says.
func (p *product) outcomeOf(cpf selo.CPF) Outcome {
	for _, person := range testPeople {
		if person.CPF == cpf && slices.Contains(p.outcomes, person.Outcome) {
			return person.Outcome
		}
	}
	return OutcomeApprove
}
