package main

import (
	"fmt"

	"github.com/vmware/govmomi/vim25/types"
)

// kms is the key providers that this vCenter has set up, and their keys.
type kms struct {
	providers []*provider
	// Whether CreateVM_Task is refused when the provider of a key is down. Nobody has confirmed what the real one does.
	strictCreate bool
	// Whether a bundle that names another provider opens all the same.
	lenientBundle bool
}

type provider struct {
	id       string
	active   bool
	standard bool
	native   bool
	keys     map[string]*kmsKey
}

type kmsKey struct {
	material []byte
	// Why it cannot be had though the provider is active: a CryptoManagerKmipCryptoKeyStatus reason.
	lost string
}

func (s *sim) usualProviders() kms {
	return kms{providers: []*provider{
		{id: "kms-prod", active: true, standard: true, keys: map[string]*kmsKey{}},
		{id: "kms-dr", active: true, keys: map[string]*kmsKey{}},
	}}
}

func (k *kms) find(id string) *provider {
	for _, p := range k.providers {
		if p.id == id {
			return p
		}
	}
	return nil
}

func (k *kms) standard() *provider {
	for _, p := range k.providers {
		if p.standard {
			return p
		}
	}
	return nil
}

// keyID writes a key as the API has it.
func keyID(provider, key string) *types.CryptoKeyId {
	return &types.CryptoKeyId{KeyId: key, ProviderId: &types.KeyProviderId{Id: provider}}
}

// addKey makes a key under a name. The same name on another simulator with the same seed is the same key: a replica.
func (s *sim) addKey(p *provider, name string) *types.CryptoKeyId {
	if p.keys[name] == nil {
		p.keys[name] = &kmsKey{material: s.derived("kms/" + name)}
	}
	return keyID(p.id, name)
}

// freshKey makes a key with a name of its own in the standard provider, or the given one.
func (s *sim) freshKey(id *types.KeyProviderId) (*types.CryptoKeyId, types.BaseMethodFault) {
	p := s.kms.standard()
	if id != nil && id.Id != "" {
		p = s.kms.find(id.Id)
	}
	if p == nil || !p.active {
		return nil, locatorFault("no key provider that can make a key")
	}
	return s.addKey(p, s.derivedUUID(s.mint("key"))), nil
}

func locatorFault(text string) types.BaseMethodFault {
	return said(&types.GenericVmConfigFault{Reason: text}, "msg.keysafe.locator", text)
}

// keyState says whether a key can be had, and if not, why. The reasons are the API's.
func (s *sim) keyState(id *types.CryptoKeyId) (*kmsKey, string) {
	p := s.kms.standard()
	if id.ProviderId != nil {
		p = s.kms.find(id.ProviderId.Id)
	}
	if p == nil {
		return nil, "KeyStateClusterInvalid"
	}
	if !p.active {
		return nil, "KeyStateClusterUnreachable"
	}
	key := p.keys[id.KeyId]
	if key == nil {
		return nil, "KeyStateMissingInKMS"
	}
	if key.lost != "" {
		return nil, key.lost
	}
	return key, ""
}

// knownKey refuses a key that a new VM cannot be given.
func (s *sim) knownKey(id *types.CryptoKeyId) types.BaseMethodFault {
	_, reason := s.keyState(id)
	switch {
	case reason == "":
		return nil
	case !s.kms.strictCreate && (reason == "KeyStateClusterUnreachable" || len(s.kms.providers) == 0):
		return nil
	case reason == "KeyStateClusterInvalid" || reason == "KeyStateClusterUnreachable":
		return locatorFault(fmt.Sprintf("key provider of key %s: %s", keyText(id), reason))
	}
	text := fmt.Sprintf("Key %s not found.", keyText(id))
	return said(&types.GenericVmConfigFault{Reason: text}, "msg.vigor.enc.keyNotFound", text)
}

func (s *sim) listKmipServers(*call) *reply {
	response := &types.ListKmipServersResponse{}
	for _, p := range s.kms.providers {
		info := types.KmipClusterInfo{
			ClusterId: types.KeyProviderId{Id: p.id}, UseAsDefault: p.standard, ManagementType: "vCenter",
			Servers: []types.KmipServerInfo{{Name: p.id + "-1", Address: "192.0.2.10", Port: 5696}},
		}
		if p.native {
			info.ManagementType, info.Servers = "nativeProvider", nil
		}
		response.Returnval = append(response.Returnval, info)
	}
	return &reply{response: response}
}

func (s *sim) isKmsClusterActive(c *call) *reply {
	request := c.body.(*types.IsKmsClusterActive)
	p := s.kms.standard()
	if request.Cluster != nil {
		p = s.kms.find(request.Cluster.Id)
	}
	if p == nil {
		return fault(&types.InvalidArgument{InvalidProperty: "cluster"})
	}
	return &reply{response: &types.IsKmsClusterActiveResponse{Returnval: p.active}}
}

func (s *sim) queryCryptoKeyStatus(c *call) *reply {
	request := c.body.(*types.QueryCryptoKeyStatus)
	response := &types.QueryCryptoKeyStatusResponse{}
	for i := range request.KeyIds {
		id := request.KeyIds[i]
		status := types.CryptoManagerKmipCryptoKeyStatus{KeyId: id}
		if request.CheckKeyBitMap&1 != 0 {
			_, reason := s.keyState(&id)
			status.Reason = reason
			switch reason {
			case "KeyStateMissingInCache", "KeyStateManagedByTrustAuthority":
				// It was not looked up: neither available nor not.
			default:
				status.KeyAvailable = types.NewBool(reason == "")
			}
		}
		response.Returnval = append(response.Returnval, status)
	}
	return &reply{response: response}
}

func (s *sim) listKeys(*call) *reply {
	response := &types.ListKeysResponse{}
	for _, p := range s.kms.providers {
		for name := range p.keys {
			response.Returnval = append(response.Returnval, *keyID(p.id, name))
		}
	}
	return &reply{response: response}
}

func (s *sim) generateKey(c *call) *reply {
	request := c.body.(*types.GenerateKey)
	id, f := s.freshKey(request.KeyProvider)
	if f != nil {
		return &reply{response: &types.GenerateKeyResponse{Returnval: types.CryptoKeyResult{Reason: messageOf(f)}}}
	}
	return &reply{response: &types.GenerateKeyResponse{Returnval: types.CryptoKeyResult{KeyId: *id, Success: true}}}
}
