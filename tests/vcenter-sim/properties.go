package main

import (
	"bytes"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// retrieveProperties passes on, and then takes out what is hidden: a property that the user may not read is in
// missingSet with the fault that says so.
func (s *sim) retrieveProperties(c *call) *reply {
	answer := s.passOn(c)
	hides := false
	for _, m := range s.machines {
		hides = hides || len(m.hidden) > 0
	}
	if !hides || answer.status != 200 {
		return answer
	}
	var envelope struct {
		Body struct {
			Page *types.RetrievePropertiesExResponse         `xml:"RetrievePropertiesExResponse"`
			More *types.ContinueRetrievePropertiesExResponse `xml:"ContinueRetrievePropertiesExResponse"`
			All  *types.RetrievePropertiesResponse           `xml:"RetrievePropertiesResponse"`
		}
	}
	decoder := xml.NewDecoder(bytes.NewReader(answer.bytes))
	decoder.TypeFunc = types.TypeFunc()
	if decoder.Decode(&envelope) != nil {
		return answer
	}
	switch {
	case envelope.Body.Page != nil && envelope.Body.Page.Returnval != nil:
		s.hide(envelope.Body.Page.Returnval.Objects)
		return &reply{response: envelope.Body.Page}
	case envelope.Body.More != nil:
		s.hide(envelope.Body.More.Returnval.Objects)
		return &reply{response: envelope.Body.More}
	case envelope.Body.All != nil:
		s.hide(envelope.Body.All.Returnval)
		return &reply{response: envelope.Body.All}
	}
	return answer
}

func (s *sim) hide(objects []types.ObjectContent) {
	for i := range objects {
		m := s.machines[objects[i].Obj.Value]
		if m == nil {
			continue
		}
		var kept []types.DynamicProperty
		for _, property := range objects[i].PropSet {
			if !under(property.Name, m.hidden) {
				kept = append(kept, property)
				continue
			}
			objects[i].MissingSet = append(objects[i].MissingSet, types.MissingProperty{
				Path: property.Name,
				Fault: types.LocalizedMethodFault{
					Fault:            &types.NoPermission{Object: objects[i].Obj, PrivilegeId: "System.Read"},
					LocalizedMessage: "Permission to perform this operation was denied.",
				},
			})
		}
		objects[i].PropSet = kept
	}
}

func under(name string, paths []string) bool {
	for _, path := range paths {
		if name == path || strings.HasPrefix(name, path+".") {
			return true
		}
	}
	return false
}
