package sandbox

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"

	"github.com/selo-id/selo"
)

const (
	maxImageSize = 4 << 20
	maxFieldSize = 256 // of a multipart field, which is a CPF or an outcome

	mobileBody      = `{"imageUrl": "<URL>", "peopleId" | "person"?, "outcome"?: "<outcome>"}`
	signParameter   = "shouldSignResponse"
	badMultipart    = "the multipart body must have one file part image, and may have the fields peopleId and outcome, nothing else and none twice"
	messageAlive    = "somebody alive was seen"
	messageNotAlive = "nobody alive was seen"
)

// mobileRequest is the body of the three paths of the mobile API.
type mobileRequest struct {
	ImageURL string        `json:"imageUrl"`
	PeopleID string        `json:"peopleId"`
	Person   *MobilePerson `json:"person"`
	Outcome  *Outcome      `json:"outcome"`
}

// mobileRun is a request to the mobile API that was let in.
type mobileRun struct {
	mobileRequest
	token   *mobileToken
	product *product
	sign    bool // shouldSignResponse=true
}

// mobile makes an action of what the three paths do differently.
func (s *Sandbox) mobile(productName string, act func(http.ResponseWriter, *http.Request, mobileRun) (any, *refusal)) action {
	p := productNamed(productName)
	return func(w http.ResponseWriter, r *http.Request) (any, *refusal) {
		token, no := s.admit(w, r, startsSDK, p.name)
		if no != nil {
			return nil, no
		}
		m := mobileRun{token: token, product: p}
		if m.sign, no = readQuery(r.URL.RawQuery); no != nil {
			return nil, no
		}
		if m.mobileRequest, no = readMobileBody(w, r); no != nil {
			return nil, no
		}
		if m.Outcome != nil && !slices.Contains(p.outcomes, *m.Outcome) {
			return nil, invalid("outcome must be one that " + p.name + " has: " + named(p.outcomes))
		}
		answer, no := act(w, r, m)
		if no != nil || !m.sign {
			return answer, no
		}
		payload, no := marshal(answer)
		if no != nil {
			return nil, no
		}
		return bareJWT(token.key.sign(payload)), nil
	}
}

func (s *Sandbox) mobileLiveness(w http.ResponseWriter, r *http.Request, m mobileRun) (any, *refusal) {
	if m.PeopleID != "" {
		return nil, invalid("peopleId is for /faces/authenticate and /faces/register; here it is person, with cpf and name")
	}
	cpf, person := m.token.cpf, (*MobilePerson)(nil)
	if m.Person != nil {
		var err error
		if cpf, err = selo.ParseCPF(m.Person.CPF); err != nil {
			return nil, &refusal{http.StatusBadRequest, codeCPFInvalid, "person.cpf must be a CPF: 11 digits, bare or as 000.000.000-00, with correct check digits"}
		}
		if no := m.token.isFor(cpf, "person.cpf"); no != nil {
			return nil, no
		}
		person = &MobilePerson{cpf.Digits(), m.Person.Name}
	}
	n := s.begin(w, r, m.run(cpf))
	s.rememberFace(r, n)
	answer := MobileLivenessResponse{RequestID: n.request, IsAlive: n.alive(), AttemptID: n.attempt, Person: person, Message: messageAlive}
	if !n.alive() {
		answer.Message = messageNotAlive
	}
	return answer, nil
}

func (s *Sandbox) mobileAuthenticate(w http.ResponseWriter, r *http.Request, m mobileRun) (any, *refusal) {
	cpf, no := m.people()
	if no != nil {
		return nil, no
	}
	if s.register && !s.memory.hasFace(cpf) {
		return nil, &refusal{http.StatusNotFound, codeNoFace, "no face is registered for this person; POST /faces/register comes first"}
	}
	n := s.begin(w, r, m.run(cpf))
	s.rememberFace(r, n)
	return MobileAuthenticationResponse{n.request, n.matches()}, nil
}

func (s *Sandbox) mobileRegister(w http.ResponseWriter, r *http.Request, m mobileRun) (any, *refusal) {
	if m.sign {
		return nil, invalid("a registration is not signed; leave " + signParameter + " out")
	}
	if m.Outcome != nil {
		return nil, invalid("a registration has no outcome")
	}
	cpf, no := m.people()
	if no != nil {
		return nil, no
	}
	n := s.begin(w, r, m.run(cpf))
	s.memory.registerFace(cpf)
	return MobileRegistration{n.request, "the face is registered"}, nil
}

// run returns the run of a request, about cpf or nobody.
func (m mobileRun) run(cpf selo.CPF) run {
	n := run{product: m.product, key: m.token.key, person: cpf, outcome: m.product.outcomeOf(cpf)}
	if m.Outcome != nil {
		n.outcome = *m.Outcome
	}
	return n
}

// people returns the person of peopleId, which Caf takes as digits only.
func (m mobileRun) people() (selo.CPF, *refusal) {
	if m.Person != nil {
		return selo.CPF{}, invalid("person is for /faces/liveness; here it is peopleId")
	}
	cpf, err := selo.ParseCPF(m.PeopleID)
	if err != nil || len(m.PeopleID) != 11 {
		return selo.CPF{}, &refusal{http.StatusBadRequest, codeCPFInvalid, "peopleId must be a CPF of 11 digits, without punctuation, with correct check digits"}
	}
	if no := m.token.isFor(cpf, "peopleId"); no != nil {
		return selo.CPF{}, no
	}
	return cpf, nil
}

// readQuery takes shouldSignResponse and nothing else, so that a misspelled one does not go unsigned.
func readQuery(raw string) (sign bool, _ *refusal) {
	query, err := url.ParseQuery(raw)
	values, ok := query[signParameter]
	if err != nil || len(query) > 1 || len(query) == 1 && (!ok || len(values) != 1 || values[0] != "true" && values[0] != "false") {
		return false, invalid("the query may be " + signParameter + "=true or =false, once, and nothing else")
	}
	return ok && values[0] == "true", nil
}

// readMobileBody reads JSON with an imageUrl, or multipart with an image. Neither is looked at: the URL is
// not fetched and the image thrown away.
func readMobileBody(w http.ResponseWriter, r *http.Request) (mobileRequest, *refusal) {
	var m mobileRequest
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && media == "multipart/form-data" {
		return readMultipart(http.MaxBytesReader(w, r.Body, maxImageSize), params["boundary"])
	}
	if no := readBody(w, r, &m, mobileBody); no != nil {
		return mobileRequest{}, no
	}
	if u, err := url.Parse(m.ImageURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return mobileRequest{}, invalid("imageUrl is required, and must be an http or https URL; an image itself goes as multipart/form-data")
	}
	return m, nil
}

func readMultipart(body io.Reader, boundary string) (mobileRequest, *refusal) {
	var m mobileRequest
	if boundary == "" {
		return mobileRequest{}, invalid("multipart/form-data needs a boundary")
	}
	seen := make(map[string]bool)
	for parts := multipart.NewReader(body, boundary); ; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return mobileRequest{}, badPart(err)
		}
		name := part.FormName()
		if seen[name] || (name == "image") != (part.FileName() != "") {
			return mobileRequest{}, invalid(badMultipart)
		}
		seen[name] = true
		if no := m.readPart(name, part); no != nil {
			return mobileRequest{}, no
		}
	}
	if !seen["image"] {
		return mobileRequest{}, invalid(badMultipart)
	}
	return m, nil
}

// readPart takes one part into m.
func (m *mobileRequest) readPart(name string, part io.Reader) *refusal {
	if name == "image" {
		n, err := io.Copy(io.Discard, part)
		if err != nil {
			return badPart(err)
		}
		if n == 0 {
			return invalid("the image is empty")
		}
		return nil
	}
	var value bytes.Buffer
	if _, err := io.Copy(&value, io.LimitReader(part, maxFieldSize+1)); err != nil {
		return badPart(err)
	}
	switch {
	case value.Len() == 0 || value.Len() > maxFieldSize:
		return invalid("a multipart field must have 1 to 256 bytes")
	case name == "peopleId":
		m.PeopleID = value.String()
	case name == "outcome":
		m.Outcome = new(Outcome(value.String()))
	default:
		return invalid(badMultipart)
	}
	return nil
}

func badPart(err error) *refusal {
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return unreadable(err, maxImageSize)
	}
	return invalid("the body is not multipart/form-data with this boundary, to its end")
}
