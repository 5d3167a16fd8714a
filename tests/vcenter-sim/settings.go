package main

import (
	"fmt"
	"net/url"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Control calls on what is not a VM: key providers, policies, hosts, datastores.

func (s *sim) setKMS(q url.Values) error {
	switch q.Get("create") {
	case "refuse":
		s.kms.strictCreate = true
	case "allow":
		s.kms.strictCreate = false
	}
	switch q.Get("bundle") {
	case "lenient":
		s.kms.lenientBundle = true
	case "strict":
		s.kms.lenientBundle = false
	}
	if q.Get("up") == "" {
		return nil
	}
	for _, p := range s.kms.providers {
		if q.Get("id") == "" || q.Get("id") == p.id {
			p.active = q.Get("up") == "true"
		}
	}
	return nil
}

func (s *sim) loseKey(q url.Values) error {
	id := parseKey(q.Get("id"))
	p := s.kms.find(id.ProviderId.Id)
	if p == nil {
		return fmt.Errorf("no provider %q", id.ProviderId.Id)
	}
	key := p.keys[id.KeyId]
	switch reason := q.Get("reason"); {
	case reason == "":
		delete(p.keys, id.KeyId)
	case key == nil:
		return fmt.Errorf("no key %q", q.Get("id"))
	case reason == "found":
		key.lost = ""
	default:
		key.lost = reason
	}
	return nil
}

func (s *sim) setProvider(q url.Values) error {
	if id := q.Get("add"); id != "" {
		p := &provider{id: id, active: true, native: q.Get("native") == "true", keys: map[string]*kmsKey{}}
		// A replica of another one has its keys; so has the same cluster under another name.
		if other := s.kms.find(q.Get("like")); other != nil {
			for name, key := range other.keys {
				p.keys[name] = &kmsKey{material: key.material}
			}
		}
		for _, name := range listed(q.Get("keys")) {
			s.addKey(p, name)
		}
		s.kms.providers = append(s.kms.providers, p)
	}
	if q["del"] != nil {
		var kept []*provider
		for _, p := range s.kms.providers {
			if q.Get("del") != "" && p.id != q.Get("del") {
				kept = append(kept, p)
			}
		}
		s.kms.providers = kept
	}
	if q["default"] != nil {
		for _, p := range s.kms.providers {
			p.standard = p.id == q.Get("default")
		}
	}
	return nil
}

func (s *sim) setPolicy(q url.Values) error {
	if id := q.Get("del"); id != "" {
		var kept []*policy
		for _, p := range s.policies {
			if p.id != id && p.name != id {
				kept = append(kept, p)
			}
		}
		s.policies = kept
	}
	if name := q.Get("add"); name != "" {
		p := &policy{id: q.Get("id"), name: name, category: "REQUIREMENT", namespace: "VSAN", capability: "hostFailuresToTolerate"}
		if p.id == "" {
			p.id = s.derivedUUID("policy/" + name)
		}
		switch q.Get("encrypts") {
		case "directly":
			p.namespace, p.capability = encryptionSpace, encryptionFilter
		case "true":
			p.dataService = dataServicePolicy
		}
		s.policies = append(s.policies, p)
	}
	if id := q.Get("rename"); id != "" {
		p := s.policy(id)
		if p == nil {
			return fmt.Errorf("no policy %q", id)
		}
		p.name = q.Get("to")
	}
	return nil
}

func (s *sim) setHost(q url.Values) error {
	for _, ref := range s.place.hosts {
		host := simulator.Map.Get(ref).(*simulator.HostSystem)
		if q.Get("name") != "" && host.Name != q.Get("name") {
			continue
		}
		if state := q.Get("crypto"); state != "" {
			host.Runtime.CryptoState = state
		}
		if q.Get("maintenance") != "" {
			host.Runtime.InMaintenanceMode = q.Get("maintenance") == "true"
		}
		if state := q.Get("connection"); state != "" {
			host.Runtime.ConnectionState = types.HostSystemConnectionState(state)
		}
	}
	return nil
}

// setDatastore sets what summary says, in bytes.
func (s *sim) setDatastore(q url.Values) error {
	store, ok := simulator.Map.Get(s.datastoreRef(q.Get("name"))).(*simulator.Datastore)
	if !ok {
		return fmt.Errorf("no datastore %q", q.Get("name"))
	}
	if q.Get("free") != "" {
		store.Summary.FreeSpace = bytesOf(q, "free")
		store.Info.GetDatastoreInfo().FreeSpace = store.Summary.FreeSpace
	}
	if q.Get("capacity") != "" {
		store.Summary.Capacity = bytesOf(q, "capacity")
	}
	if mode := q.Get("maintenance"); mode != "" {
		store.Summary.MaintenanceMode = mode
	}
	return nil
}
