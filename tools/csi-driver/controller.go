package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// controller makes, copies and deletes directories.
type controller struct {
	csi.UnimplementedControllerServer
	disk *disk
}

var capabilities = []csi.ControllerServiceCapability_RPC_Type{
	csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
	csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
	csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
	csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
}

func (controller) ControllerGetCapabilities(
	context.Context, *csi.ControllerGetCapabilitiesRequest,
) (*csi.ControllerGetCapabilitiesResponse, error) {
	answer := &csi.ControllerGetCapabilitiesResponse{}
	for _, capability := range capabilities {
		call := &csi.ControllerServiceCapability_RPC{Type: capability}
		answer.Capabilities = append(answer.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: call},
		})
	}
	return answer, nil
}

func (c controller) CreateVolume(_ context.Context, request *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	for _, capability := range request.GetVolumeCapabilities() {
		if capability.GetBlock() != nil {
			return nil, status.Error(codes.InvalidArgument, "a directory is no block device")
		}
	}
	source, err := c.source(request.GetVolumeContentSource())
	if err != nil {
		return nil, err
	}
	wanted := request.GetCapacityRange().GetRequiredBytes()
	if source != nil && wanted < source.Bytes {
		return nil, status.Errorf(codes.OutOfRange, "%d bytes do not hold the %d of %s", wanted, source.Bytes, source.Handle)
	}
	volume, err := c.disk.make(volumes, request.GetName(), wanted, source)
	if err != nil {
		return nil, refusal(err)
	}
	if volume.Bytes != wanted || volume.Source != handleOrNothing(source) {
		return nil, status.Errorf(codes.AlreadyExists, "%s exists with another size or content", volume.Handle)
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId:      volume.Handle,
		CapacityBytes: volume.Bytes,
		ContentSource: request.GetVolumeContentSource(),
	}}, nil
}

// source returns what a new volume shall be a copy of; nil for an empty one.
func (c controller) source(content *csi.VolumeContentSource) (*record, error) {
	var of kind
	var handle string
	switch {
	case content.GetSnapshot() != nil:
		of, handle = snapshots, content.GetSnapshot().GetSnapshotId()
	case content.GetVolume() != nil:
		of, handle = volumes, content.GetVolume().GetVolumeId()
	default:
		return nil, nil
	}
	return c.existing(of, handle)
}

func (c controller) existing(of kind, handle string) (*record, error) {
	found, err := c.disk.find(of, handle)
	if err != nil {
		return nil, refusal(err)
	}
	if found == nil {
		return nil, status.Errorf(codes.NotFound, "%q is not among the %s", handle, of)
	}
	return found, nil
}

func (c controller) DeleteVolume(_ context.Context, request *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if err := c.disk.remove(volumes, request.GetVolumeId()); err != nil {
		return nil, refusal(err)
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (c controller) ValidateVolumeCapabilities(
	_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest,
) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if _, err := c.existing(volumes, request.GetVolumeId()); err != nil {
		return nil, err
	}
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: request.GetVolumeCapabilities()},
	}, nil
}

func (c controller) CreateSnapshot(
	_ context.Context, request *csi.CreateSnapshotRequest,
) (*csi.CreateSnapshotResponse, error) {
	volume, err := c.existing(volumes, request.GetSourceVolumeId())
	if err != nil {
		return nil, err
	}
	snapshot, err := c.disk.make(snapshots, request.GetName(), volume.Bytes, volume)
	if err != nil {
		return nil, refusal(err)
	}
	if snapshot.Source != volume.Handle {
		return nil, status.Errorf(codes.AlreadyExists, "%s exists and is of %s", snapshot.Handle, snapshot.Source)
	}
	return &csi.CreateSnapshotResponse{Snapshot: c.described(snapshot)}, nil
}

func (c controller) DeleteSnapshot(
	_ context.Context, request *csi.DeleteSnapshotRequest,
) (*csi.DeleteSnapshotResponse, error) {
	if err := c.disk.remove(snapshots, request.GetSnapshotId()); err != nil {
		return nil, refusal(err)
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

// ListSnapshots is how a sidecar looks whether a snapshot is ready, and whether a handle that it was given exists.
func (c controller) ListSnapshots(
	_ context.Context, request *csi.ListSnapshotsRequest,
) (*csi.ListSnapshotsResponse, error) {
	list, err := c.disk.all(snapshots)
	if err != nil {
		return nil, refusal(err)
	}
	begin := 0
	if token := request.GetStartingToken(); token != "" {
		begin, err = strconv.Atoi(token)
		if err != nil || begin < 0 || begin > len(list) {
			return nil, status.Errorf(codes.Aborted, "%q is not a token of this list", token)
		}
	}
	answer := &csi.ListSnapshotsResponse{}
	for place, snapshot := range list[begin:] {
		if most := int(request.GetMaxEntries()); most > 0 && len(answer.Entries) == most {
			answer.NextToken = strconv.Itoa(begin + place)
			break
		}
		if wanted := request.GetSnapshotId(); wanted != "" && wanted != snapshot.Handle {
			continue
		}
		if wanted := request.GetSourceVolumeId(); wanted != "" && wanted != snapshot.Source {
			continue
		}
		answer.Entries = append(answer.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: c.described(snapshot)})
	}
	return answer, nil
}

func (c controller) described(snapshot *record) *csi.Snapshot {
	_, notReady := c.disk.fault("NotReady")
	return &csi.Snapshot{
		SnapshotId:      snapshot.Handle,
		SourceVolumeId:  snapshot.Source,
		SizeBytes:       snapshot.Bytes,
		CreationTime:    timestamppb.New(snapshot.Made),
		ReadyToUse:      !notReady,
		GroupSnapshotId: snapshot.Group,
	}
}

func handleOrNothing(source *record) string {
	if source == nil {
		return ""
	}
	return source.Handle
}

func refusal(err error) error {
	if errors.Is(err, errName) {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}
