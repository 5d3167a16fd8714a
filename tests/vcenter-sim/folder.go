package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// folder is file access to datastores: /folder/DIR/FILE?dcPath=DC&dsName=DS. Unlike the stock one it asks for the
// session, and dcPath must be the datacenter's whole inventory path.
func (s *sim) folder(w http.ResponseWriter, r *http.Request) {
	var content []byte
	if r.Method == http.MethodPut {
		var err error
		if content, err = io.ReadAll(r.Body); err != nil {
			return
		}
	}
	outcome := s.faults.next(s, w, r, r.Method)
	if outcome == faultTaken {
		return
	}
	if !s.holds.pass(r, r.Method, "before") {
		reset(w)
		return
	}
	s.mu.Lock()
	status, body := s.file(r, content)
	s.mu.Unlock()
	if outcome == faultLoses || !s.holds.pass(r, r.Method, "after") {
		reset(w)
		return
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="VMware HTTP server"`)
	}
	if status == http.StatusOK && r.Method != http.MethodPut {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.WriteHeader(status)
		_, _ = w.Write(body)
		return
	}
	w.WriteHeader(status)
}

func (s *sim) file(r *http.Request, content []byte) (int, []byte) {
	s.runScheduled(r.Method)
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	if !s.open(cookieOf(r)) {
		return http.StatusUnauthorized, nil
	}
	query := r.URL.Query()
	root := s.place.datastores[query.Get("dsName")]
	relative := strings.TrimPrefix(r.URL.Path, "/folder/")
	if strings.Trim(query.Get("dcPath"), "/") != datacenterPath || root == "" || strings.Contains(relative, "..") || relative == "" {
		return http.StatusNotFound, nil
	}
	name := filepath.Join(root, filepath.FromSlash(relative))
	store := s.datastoreRef(query.Get("dsName"))
	switch r.Method {
	case http.MethodGet:
		if s.refuses("Datastore.Browse", store) || s.refuses("Datastore.FileManagement", store) {
			return http.StatusForbidden, nil
		}
		body, err := os.ReadFile(name)
		if err != nil {
			return http.StatusNotFound, nil
		}
		return http.StatusOK, body
	case http.MethodPut:
		if s.refuses("Datastore.FileManagement", store) {
			return http.StatusForbidden, nil
		}
		status := http.StatusCreated
		if exists(name) {
			status = http.StatusOK
		}
		// The folder of a VM must be there: PUT makes files only.
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return http.StatusNotFound, nil
		}
		for _, entity := range simulator.Map.All("VirtualMachine") {
			vm := entity.(*simulator.VirtualMachine)
			if filepath.Dir(name) == s.local(directoryOf(vm)) {
				s.relist(vm)
			}
		}
		return status, nil
	}
	return http.StatusMethodNotAllowed, nil
}

func (s *sim) datastoreRef(name string) types.ManagedObjectReference {
	for _, entity := range simulator.Map.All("Datastore") {
		if store := entity.(*simulator.Datastore); store.Name == name {
			return store.Self
		}
	}
	return types.ManagedObjectReference{}
}
