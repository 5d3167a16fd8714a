package main

import (
	"strings"
	"time"

	pbm "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25/types"
)

// policy is a storage policy. One that encrypts says so itself, or leads to a data-service profile that does, as the
// sample policy of a real vCenter.
type policy struct {
	id          string
	name        string
	category    string
	namespace   string
	capability  string
	dataService string
}

const (
	samplePolicy      = "4d5f673c-536f-11e6-beb8-9e71128cae77"
	plainPolicy       = "aa6d5a82-1c88-45da-85d3-3d74b91a5bad"
	dataServicePolicy = "ad5a249d-cbc2-43af-9366-694d7664fa52"
	dataServiceSpace  = "com.vmware.storageprofile.dataservice"
	encryptionSpace   = "vmwarevmcrypt"
	encryptionFilter  = "vmwarevmcrypt@ENCRYPTION"
)

func usualPolicies() []*policy {
	return []*policy{
		{id: plainPolicy, name: "vSAN Default Storage Policy", category: "REQUIREMENT", namespace: "VSAN", capability: "hostFailuresToTolerate"},
		{id: samplePolicy, name: "VM Encryption Policy", category: "REQUIREMENT", dataService: dataServicePolicy},
		{id: dataServicePolicy, name: "Default encryption properties", category: "DATA_SERVICE_POLICY", namespace: encryptionSpace, capability: encryptionFilter},
	}
}

func (s *sim) policy(idOrName string) *policy {
	for _, p := range s.policies {
		if p.id == idOrName || p.name == idOrName {
			return p
		}
	}
	return nil
}

func (s *sim) encrypts(id string) bool {
	p := s.policy(id)
	if p == nil {
		return false
	}
	if p.dataService != "" {
		return s.encrypts(p.dataService)
	}
	return p.namespace == encryptionSpace
}

func (s *sim) pbmQueryProfile(c *call) *reply {
	request := c.body.(*pbm.PbmQueryProfile)
	response := &pbm.PbmQueryProfileResponse{}
	for _, p := range s.policies {
		if request.ResourceType.ResourceType == "STORAGE" && (request.ProfileCategory == "" || request.ProfileCategory == p.category) {
			response.Returnval = append(response.Returnval, pbm.PbmProfileId{UniqueId: p.id})
		}
	}
	return &reply{response: response}
}

func (s *sim) pbmRetrieveContent(c *call) *reply {
	request := c.body.(*pbm.PbmRetrieveContent)
	response := &pbm.PbmRetrieveContentResponse{}
	for _, id := range request.ProfileIds {
		p := s.policy(id.UniqueId)
		if p == nil {
			return fault(&types.InvalidArgument{InvalidProperty: "profileIds"})
		}
		response.Returnval = append(response.Returnval, p.content())
	}
	return &reply{response: response}
}

func (p *policy) content() *pbm.PbmCapabilityProfile {
	namespace, capability := p.namespace, p.capability
	var value types.AnyType = "1"
	if p.dataService != "" {
		namespace, capability, value = dataServiceSpace, p.dataService, p.dataService
	}
	at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	return &pbm.PbmCapabilityProfile{
		PbmProfile: pbm.PbmProfile{
			ProfileId: pbm.PbmProfileId{UniqueId: p.id}, Name: p.name, CreationTime: at, CreatedBy: "vCenter",
			LastUpdatedTime: at, LastUpdatedBy: "vCenter",
		},
		ProfileCategory: p.category,
		ResourceType:    pbm.PbmProfileResourceType{ResourceType: "STORAGE"},
		Constraints: &pbm.PbmCapabilitySubProfileConstraints{SubProfiles: []pbm.PbmCapabilitySubProfile{{
			Name: "sp-1",
			Capability: []pbm.PbmCapabilityInstance{{
				Id: pbm.PbmCapabilityMetadataUniqueId{Namespace: namespace, Id: capability},
				Constraint: []pbm.PbmCapabilityConstraintInstance{{
					PropertyInstance: []pbm.PbmCapabilityPropertyInstance{{Id: capability, Value: value}},
				}},
			}},
		}}},
	}
}

// pbmQueryAssociatedProfile knows VMs ("vm-16") and disks ("vm-16:2000"), of this vCenter only.
func (s *sim) pbmQueryAssociatedProfile(c *call) *reply {
	request := c.body.(*pbm.PbmQueryAssociatedProfile)
	response := &pbm.PbmQueryAssociatedProfileResponse{}
	entity := request.Entity
	if entity.ServerUuid != "" && entity.ServerUuid != s.options.instanceUUID {
		return fault(&types.InvalidArgument{InvalidProperty: "entity.serverUuid"})
	}
	parts := strings.SplitN(entity.Key, ":", 2)
	m := s.machines[parts[0]]
	vm := s.vm(parts[0])
	if vm == nil || m == nil {
		return fault(&types.InvalidArgument{InvalidProperty: "entity.key"})
	}
	id := ""
	switch {
	case entity.ObjectType == "virtualMachine" && len(parts) == 1:
		id = m.homePolicy
	case entity.ObjectType == "virtualDiskId" && len(parts) == 2:
		id = m.diskPolicies[number(parts[1])]
	default:
		return fault(&types.InvalidArgument{InvalidProperty: "entity"})
	}
	if id != "" && s.policy(id) != nil {
		response.Returnval = append(response.Returnval, pbm.PbmProfileId{UniqueId: id})
	}
	return &reply{response: response}
}
