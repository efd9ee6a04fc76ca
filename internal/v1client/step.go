package v1client

import (
	"net/http"
	"strings"
)

// Step is a kind of request.
type Step string

// The requests of the protocol.
const (
	StepCapabilities   Step = "GET capabilities"
	StepConnect        Step = "POST connect"
	StepPushCreate     Step = "POST push-sessions"
	StepPushChunk      Step = "POST push-sessions/chunks"
	StepPushCommit     Step = "POST push-sessions/commit"
	StepPushDelete     Step = "DELETE push-sessions"
	StepRows           Step = "GET committed-bundles/rows"
	StepPull           Step = "GET pull"
	StepSnapshotCreate Step = "POST snapshot-sessions"
	StepSnapshotChunk  Step = "GET snapshot-sessions"
	StepSnapshotDelete Step = "DELETE snapshot-sessions"
)

// PushSteps are the requests of one push, in order.
var PushSteps = []Step{StepPushCreate, StepPushChunk, StepPushCommit, StepRows}

// RebuildSteps are the requests of one rebuild, in order.
var RebuildSteps = []Step{StepSnapshotCreate, StepSnapshotChunk, StepSnapshotDelete}

// StepOf names the step of a request: its method and its path without ids.
func StepOf(request *http.Request) Step {
	_, path, _ := strings.Cut(request.URL.Path, "/sync/")
	parts := strings.Split(path, "/")
	name := parts[0]
	if len(parts) > 2 {
		name += "/" + parts[2]
	}
	return Step(request.Method + " " + name)
}
