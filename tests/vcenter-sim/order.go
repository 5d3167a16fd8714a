package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// element is a request as it was written: vCenter reads sequences, so the order of elements is part of the request.
type element struct {
	name     string
	kind     string
	children []*element
}

// checkOrder holds a request against the order of its WSDL sequence, all the way down. govmomi's structs have it; the
// stock simulator takes any order. The error names the element.
func checkOrder(raw []byte, method string, kind reflect.Type, typeFunc func(string) (reflect.Type, bool)) error {
	root, err := parse(raw)
	if err != nil {
		return err
	}
	request := root.find(method)
	if request == nil {
		return nil
	}
	return request.follows(method, kind, typeFunc)
}

func parse(raw []byte) (*element, error) {
	decoder := xml.NewDecoder(bytes.NewReader(raw))
	root := &element{}
	open := []*element{root}
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return root, nil
		}
		if err != nil {
			return nil, err
		}
		top := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			child := &element{name: token.Name.Local}
			for _, attribute := range token.Attr {
				if attribute.Name.Local == "type" && strings.HasSuffix(attribute.Name.Space, "XMLSchema-instance") {
					child.kind = attribute.Value[strings.LastIndex(attribute.Value, ":")+1:]
				}
			}
			top.children = append(top.children, child)
			open = append(open, child)
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
}

func (e *element) find(name string) *element {
	if e.name == name {
		return e
	}
	for _, child := range e.children {
		if found := child.find(name); found != nil {
			return found
		}
	}
	return nil
}

type field struct {
	name string
	kind reflect.Type
	many bool
}

func fieldsOf(kind reflect.Type) []field {
	var fields []field
	for i := 0; i < kind.NumField(); i++ {
		f := kind.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			fields = append(fields, fieldsOf(f.Type)...)
			continue
		}
		name := strings.Split(f.Tag.Get("xml"), ",")[0]
		if name == "" {
			continue
		}
		one := field{name: name, kind: f.Type}
		if one.kind.Kind() == reflect.Slice && one.kind.Elem().Kind() != reflect.Uint8 {
			one.kind, one.many = one.kind.Elem(), true
		}
		for one.kind.Kind() == reflect.Ptr {
			one.kind = one.kind.Elem()
		}
		fields = append(fields, one)
	}
	return fields
}

var morefType = reflect.TypeOf(types.ManagedObjectReference{})

func (e *element) follows(path string, kind reflect.Type, typeFunc func(string) (reflect.Type, bool)) error {
	if e.kind != "" {
		if named, ok := typeFunc(e.kind); ok {
			kind = named
		}
	}
	if kind.Kind() != reflect.Struct || kind == morefType || kind.PkgPath() == "time" {
		return nil
	}
	fields := fieldsOf(kind)
	at := 0
	for n, child := range e.children {
		here := path + "." + child.name
		found := -1
		for i, f := range fields {
			if f.name == child.name {
				found = i
				break
			}
		}
		switch {
		case found < 0:
			return fmt.Errorf("element %s is not known in %s", here, kind.Name())
		case found < at:
			return fmt.Errorf("element %s is out of the order of %s", here, kind.Name())
		case found == at && n > 0 && e.children[n-1].name == child.name && !fields[found].many:
			return fmt.Errorf("element %s stands twice in %s", here, kind.Name())
		}
		at = found
		if err := child.follows(here, fields[found].kind, typeFunc); err != nil {
			return err
		}
	}
	return nil
}
