package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

var background = context.Background()

// Ended tasks that an object still lists.
const recentTasks = 3

// call is one SOAP request.
type call struct {
	name      string
	this      types.ManagedObjectReference
	body      types.AnyType
	raw       []byte
	namespace string
	request   *http.Request
}

// reply is what goes back: a response of govmomi's types, a fault, or bytes as the stock simulator wrote them.
type reply struct {
	response interface{}
	fault    *soap.Fault
	status   int
	header   http.Header
	bytes    []byte
}

// method answers a call in place of the stock simulator, or around it.
type method func(*call) *reply

func (s *sim) overrides() map[string]method {
	return map[string]method{
		"Login":                        s.login,
		"Logout":                       s.logout,
		"QueryChangedDiskAreas":        s.queryChangedDiskAreas,
		"CreateSnapshot_Task":          s.createSnapshot,
		"RemoveSnapshot_Task":          s.removeSnapshot,
		"RemoveAllSnapshots_Task":      s.removeAllSnapshots,
		"RevertToSnapshot_Task":        s.revertToSnapshot,
		"CreateVM_Task":                s.createVM,
		"ReconfigVM_Task":              s.reconfigVM,
		"Destroy_Task":                 s.destroy,
		"PowerOnVM_Task":               s.powerOn,
		"PowerOffVM_Task":              s.powerOff,
		"ListKmipServers":              s.listKmipServers,
		"IsKmsClusterActive":           s.isKmsClusterActive,
		"QueryCryptoKeyStatus":         s.queryCryptoKeyStatus,
		"ListKeys":                     s.listKeys,
		"GenerateKey":                  s.generateKey,
		"HasPrivilegeOnEntities":       s.hasPrivilegeOnEntities,
		"PbmQueryProfile":              s.pbmQueryProfile,
		"PbmRetrieveContent":           s.pbmRetrieveContent,
		"PbmQueryAssociatedProfile":    s.pbmQueryAssociatedProfile,
		"RetrieveProperties":           s.retrieveProperties,
		"RetrievePropertiesEx":         s.retrieveProperties,
		"ContinueRetrievePropertiesEx": s.retrieveProperties,
	}
}

// soap answers a POST to /sdk or /pbm.
func (s *sim) soap(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c := &call{raw: raw, namespace: "vim25", request: r}
	typeFunc := types.TypeFunc()
	if strings.HasPrefix(r.URL.Path, "/pbm") {
		c.namespace = "pbm"
		vim := typeFunc
		typeFunc = func(name string) (reflect.Type, bool) {
			if kind, ok := vim("pbm:" + name); ok {
				return kind, true
			}
			return vim(name)
		}
	}
	parsed, err := simulator.UnmarshalBody(typeFunc, raw)
	if err != nil {
		s.send(w, c, &reply{fault: simulator.Fault(err.Error(), &types.InvalidRequest{})})
		return
	}
	c.name, c.this, c.body = parsed.Name, parsed.This, parsed.Body

	before := s.faults.next(s, w, r, c.name)
	if before == faultTaken {
		return
	}
	if !s.holds.pass(r, c.name, "before") {
		reset(w)
		return
	}
	answer := s.answer(c, parsed.Header.Cookie, typeFunc)
	if before == faultLoses || !s.holds.pass(r, c.name, "after") {
		reset(w)
		return
	}
	s.send(w, c, answer)
}

// answer is the walk of a call. Only a wait for updates gives the lock away: it would stop everybody else.
func (s *sim) answer(c *call, headerCookie string, typeFunc func(string) (reflect.Type, bool)) (answer *reply) {
	s.mu.Lock()
	locked := true
	defer func() {
		// What the stock simulator stumbles over is an answer too, and not the end of the test's vCenter.
		if stumbled := recover(); stumbled != nil {
			text := fmt.Sprint(stumbled)
			answer = &reply{fault: simulator.Fault(text, &types.SystemError{Reason: text})}
		}
		if locked {
			s.mu.Unlock()
		}
	}()
	s.runScheduled(c.name)
	s.calls = append(s.calls, c.name)
	if f := s.authenticate(c, headerCookie); f != nil {
		return &reply{fault: f}
	}
	if err := checkOrder(c.raw, c.name, reflect.TypeOf(c.body).Elem(), typeFunc); err != nil {
		return &reply{fault: simulator.Fault(err.Error(), &types.InvalidRequest{})}
	}
	if f := s.unsupported(c); f != nil {
		return &reply{fault: f}
	}
	if f := s.denial(c); f != nil {
		return &reply{fault: f}
	}
	if answer := s.faults.soap(s, c); answer != nil {
		return answer
	}
	if own, ok := s.methods[c.name]; ok {
		return own(c)
	}
	if strings.HasPrefix(c.name, "WaitForUpdates") {
		s.mu.Unlock()
		locked = false
	}
	return s.passOn(c)
}

// passOn asks the stock simulator over its own HTTP handler.
func (s *sim) passOn(c *call) *reply {
	request := httptest.NewRequest(http.MethodPost, c.request.URL.Path, bytes.NewReader(c.raw))
	request.Header = c.request.Header.Clone()
	recorder := httptest.NewRecorder()
	s.stock.ServeHTTP(recorder, request)
	return &reply{status: recorder.Code, header: recorder.Header(), bytes: recorder.Body.Bytes()}
}

// ask calls the stock simulator in process: request and body are govmomi's method bodies.
func (s *sim) ask(request, response soap.HasFault) *soap.Fault {
	err := s.service.RoundTrip(background, request, response)
	if err == nil {
		return nil
	}
	if soap.IsSoapFault(err) {
		return soap.ToSoapFault(err)
	}
	return simulator.Fault(err.Error(), &types.SystemError{Reason: err.Error()})
}

// task runs a piece of work as a finished task of an object.
func (s *sim) task(c *call, work func() (types.AnyType, types.BaseMethodFault)) *reply {
	name := strings.TrimSuffix(c.name, "_Task")
	task := simulator.CreateTask(c.this, strings.ToLower(name[:1])+name[1:], func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return work()
	})
	run := func() {
		task.Run()
		if task.Info.Error != nil {
			task.Info.Error.LocalizedMessage = messageOf(task.Info.Error.Fault)
		}
	}
	if wait := s.faults.slowness(c.name); wait > 0 {
		go func() {
			time.Sleep(wait)
			s.mu.Lock()
			defer s.mu.Unlock()
			run()
		}()
	} else {
		run()
	}
	ref := task.Self
	recent(c.this, ref)
	return &reply{bytes: []byte(fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><%sResponse xmlns="urn:vim25"><returnval type="Task">%s</returnval></%sResponse></soapenv:Body></soapenv:Envelope>`, c.name, ref.Value, c.name))}
}

// recent lists a task with what it is done to, as vCenter does: the last ones, and all that go on.
func recent(this, task types.ManagedObjectReference) {
	if snapshot := snapshotOf(this); snapshot != nil {
		this = snapshot.Vm
	}
	found, ok := simulator.Map.Get(this).(mo.Entity)
	if !ok {
		return
	}
	entity := found.Entity()
	var kept []types.ManagedObjectReference
	for i, one := range entity.RecentTask {
		known, ok := simulator.Map.Get(one).(*simulator.Task)
		goesOn := ok && known.Info.CompleteTime == nil
		if goesOn || i+recentTasks > len(entity.RecentTask) {
			kept = append(kept, one)
		}
	}
	entity.RecentTask = append(kept, task)
}

// finished gives the outcome of a task of the stock simulator: they have run when the call returns.
func finished(ref types.ManagedObjectReference) (types.AnyType, types.BaseMethodFault) {
	task := simulator.Map.Get(ref).(*simulator.Task)
	if task.Info.Error != nil {
		return nil, task.Info.Error.Fault
	}
	return task.Info.Result, nil
}

// said puts a message key and text into a fault, where clients look for them.
func said(fault types.BaseMethodFault, key, text string) types.BaseMethodFault {
	fault.GetMethodFault().FaultMessage = []types.LocalizableMessage{{Key: key, Message: text}}
	return fault
}

func messageOf(fault types.BaseMethodFault) string {
	for _, message := range fault.GetMethodFault().FaultMessage {
		if message.Message != "" {
			return message.Message
		}
	}
	return fmt.Sprintf("A fault of type %s occurred.", reflect.TypeOf(fault).Elem().Name())
}

func fault(fault types.BaseMethodFault) *reply {
	return &reply{fault: simulator.Fault(messageOf(fault), fault)}
}

// send writes a reply.
func (s *sim) send(w http.ResponseWriter, c *call, answer *reply) {
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	status := answer.status
	if status == 0 {
		status = http.StatusOK
	}
	var body interface{}
	switch {
	case answer.fault != nil:
		status = http.StatusInternalServerError
		body = &faultBody{answer.fault}
	case answer.response != nil:
		body = &responseBody{c.namespace, answer.response}
	default:
		w.WriteHeader(status)
		_, _ = w.Write(answer.bytes)
		return
	}
	var out bytes.Buffer
	out.WriteString(xml.Header)
	err := xml.NewEncoder(&out).Encode(&envelope{
		Env:  "http://schemas.xmlsoap.org/soap/envelope/",
		XSD:  "http://www.w3.org/2001/XMLSchema",
		XSI:  "http://www.w3.org/2001/XMLSchema-instance",
		Body: body,
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes())
}

type envelope struct {
	XMLName xml.Name    `xml:"soapenv:Envelope"`
	Env     string      `xml:"xmlns:soapenv,attr"`
	XSD     string      `xml:"xmlns:xsd,attr"`
	XSI     string      `xml:"xmlns:xsi,attr"`
	Body    interface{} `xml:"soapenv:Body"`
}

// responseBody writes the response element under its own name and namespace.
type responseBody struct {
	namespace string
	response  interface{}
}

func (b *responseBody) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	name := xml.Name{Space: "urn:" + b.namespace, Local: reflect.TypeOf(b.response).Elem().Name()}
	if err := e.EncodeElement(b.response, xml.StartElement{Name: name}); err != nil {
		return err
	}
	return e.EncodeToken(start.End())
}

type faultBody struct{ fault *soap.Fault }

func (b *faultBody) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	element := struct {
		XMLName xml.Name `xml:"soapenv:Fault"`
		Code    string   `xml:"faultcode"`
		String  string   `xml:"faultstring"`
		Detail  struct {
			Fault *faultDetail
		} `xml:"detail"`
	}{Code: b.fault.Code, String: b.fault.String}
	element.Detail.Fault = &faultDetail{b.fault.Detail.Fault}
	if err := e.Encode(element); err != nil {
		return err
	}
	return e.EncodeToken(start.End())
}

type faultDetail struct{ fault types.AnyType }

func (d *faultDetail) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	value := reflect.ValueOf(d.fault)
	if value.Kind() != reflect.Ptr {
		pointer := reflect.New(value.Type())
		pointer.Elem().Set(value)
		value = pointer
	}
	kind := value.Type().Elem().Name()
	start.Name.Local = kind + "Fault"
	start.Attr = append(start.Attr,
		xml.Attr{Name: xml.Name{Local: "xmlns"}, Value: "urn:vim25"},
		xml.Attr{Name: xml.Name{Local: "xsi:type"}, Value: kind})
	return e.EncodeElement(value.Interface(), start)
}

// copied gives a deep copy of a value of govmomi's types.
func copied(source, target interface{}) {
	encoded, err := xml.Marshal(source)
	if err != nil {
		panic(err)
	}
	decoder := xml.NewDecoder(bytes.NewReader(encoded))
	decoder.TypeFunc = types.TypeFunc()
	if err := decoder.Decode(target); err != nil {
		panic(err)
	}
}
