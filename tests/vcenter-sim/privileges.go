package main

import (
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// denial takes one privilege away, on one object or everywhere.
type denial struct {
	privilege string
	object    string
	// Whether calls that need it fail too; else only the question is answered with no.
	calls bool
}

// laterPrivileges are ids that the administrator's role of the stock simulator, an old one, has not.
var laterPrivileges = []string{
	"Cryptographer.Access", "Cryptographer.AddDisk", "Cryptographer.Clone", "Cryptographer.Decrypt", "Cryptographer.Encrypt",
	"Cryptographer.EncryptNew", "Cryptographer.ManageKeys", "Cryptographer.ManageKeyServers", "Cryptographer.Recrypt",
	"Cryptographer.ReadKeyServersInfo", "Cryptographer.RegisterHost", "Cryptographer.RegisterVM",
	"StorageProfile.View", "StorageProfile.Update", "VirtualMachine.Provisioning.PutVmFiles",
}

func authorization() *simulator.AuthorizationManager {
	content := simulator.Map.Get(serviceInstance).(*simulator.ServiceInstance).Content
	return simulator.Map.Get(*content.AuthorizationManager).(*simulator.AuthorizationManager)
}

// listPrivileges fills privilegeList, which the stock simulator leaves empty. Key providers cannot be read by their own
// privilege before 7.0: then the id is not known.
func (s *sim) listPrivileges() {
	manager := authorization()
	var ids []string
	for _, role := range manager.RoleList {
		if role.Name == "Admin" {
			ids = role.Privilege
		}
	}
	seen := map[string]bool{}
	for _, id := range append(append([]string{}, ids...), laterPrivileges...) {
		if seen[id] || (id == "Cryptographer.ReadKeyServersInfo" && newer("7.0", s.options.apiVersion)) {
			continue
		}
		seen[id] = true
		at := strings.LastIndex(id, ".")
		manager.PrivilegeList = append(manager.PrivilegeList, types.AuthorizationPrivilege{PrivId: id, Name: id[at+1:], PrivGroupName: id[:at], OnParent: false})
	}
}

func (s *sim) granted(privilege string, on types.ManagedObjectReference) bool {
	for _, d := range s.denied {
		if d.privilege == privilege && (d.object == "" || d.object == on.Value) {
			return false
		}
	}
	return true
}

func (s *sim) hasPrivilegeOnEntities(c *call) *reply {
	request := c.body.(*types.HasPrivilegeOnEntities)
	if _, ok := s.sessions.live[request.SessionId]; !ok {
		return fault(&types.InvalidArgument{InvalidProperty: "sessionId"})
	}
	known := map[string]bool{}
	for _, privilege := range authorization().PrivilegeList {
		known[privilege.PrivId] = true
	}
	response := &types.HasPrivilegeOnEntitiesResponse{}
	for _, entity := range request.Entity {
		if simulator.Map.Get(entity) == nil {
			return fault(&types.ManagedObjectNotFound{Obj: entity})
		}
		answer := types.EntityPrivilege{Entity: entity}
		for _, id := range request.PrivId {
			if !known[id] {
				return fault(&types.InvalidArgument{InvalidProperty: "privId"})
			}
			answer.PrivAvailability = append(answer.PrivAvailability, types.PrivilegeAvailability{PrivId: id, IsGranted: s.granted(id, entity)})
		}
		response.Returnval = append(response.Returnval, answer)
	}
	return &reply{response: response}
}

// needs is the privilege without which a call itself fails.
func needs(c *call) []string {
	switch c.name {
	case "CreateSnapshot_Task":
		return []string{"VirtualMachine.State.CreateSnapshot"}
	case "RemoveSnapshot_Task", "RemoveAllSnapshots_Task":
		return []string{"VirtualMachine.State.RemoveSnapshot"}
	case "QueryChangedDiskAreas":
		return []string{"VirtualMachine.Provisioning.DiskRandomRead"}
	case "PowerOnVM_Task":
		return []string{"VirtualMachine.Interact.PowerOn"}
	case "Destroy_Task":
		return []string{"VirtualMachine.Inventory.Delete"}
	case "PbmQueryProfile", "PbmRetrieveContent", "PbmQueryAssociatedProfile":
		return []string{"StorageProfile.View"}
	case "ListKmipServers", "IsKmsClusterActive", "QueryCryptoKeyStatus":
		return []string{"Cryptographer.ReadKeyServersInfo"}
	case "ReconfigVM_Task":
		if request, ok := c.body.(*types.ReconfigVM_Task); ok && request.Spec.ChangeTrackingEnabled != nil {
			return []string{"VirtualMachine.Config.ChangeTracking"}
		}
	case "CreateVM_Task":
		ids := []string{"VirtualMachine.Inventory.Create"}
		if request, ok := c.body.(*types.CreateVM_Task); ok && request.Config.Crypto != nil {
			ids = append(ids, "Cryptographer.EncryptNew")
		}
		return ids
	}
	return nil
}

func (s *sim) refuses(privilege string, on types.ManagedObjectReference) bool {
	for _, d := range s.denied {
		if d.calls && d.privilege == privilege && (d.object == "" || d.object == on.Value) {
			return true
		}
	}
	return false
}

func (s *sim) denial(c *call) *soap.Fault {
	for _, id := range needs(c) {
		if s.refuses(id, c.this) {
			text := "Permission to perform this operation was denied."
			return simulator.Fault(text, &types.NoPermission{Object: c.this, PrivilegeId: id})
		}
	}
	return nil
}
