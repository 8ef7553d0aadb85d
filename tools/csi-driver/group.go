package main

import (
	"context"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// groupController copies several directories at one instant.
type groupController struct {
	csi.UnimplementedGroupControllerServer
	controller controller
}

func (groupController) GroupControllerGetCapabilities(
	context.Context, *csi.GroupControllerGetCapabilitiesRequest,
) (*csi.GroupControllerGetCapabilitiesResponse, error) {
	call := &csi.GroupControllerServiceCapability_RPC{
		Type: csi.GroupControllerServiceCapability_RPC_CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT,
	}
	return &csi.GroupControllerGetCapabilitiesResponse{Capabilities: []*csi.GroupControllerServiceCapability{{
		Type: &csi.GroupControllerServiceCapability_Rpc{Rpc: call},
	}}}, nil
}

func (g groupController) CreateVolumeGroupSnapshot(
	_ context.Context, request *csi.CreateVolumeGroupSnapshotRequest,
) (*csi.CreateVolumeGroupSnapshotResponse, error) {
	var from []*record
	for _, handle := range slices.Sorted(slices.Values(request.GetSourceVolumeIds())) {
		volume, err := g.controller.existing(volumes, handle)
		if err != nil {
			return nil, err
		}
		from = append(from, volume)
	}
	made, err := g.controller.disk.makeGroup(request.GetName(), from)
	if err != nil {
		return nil, refusal(err)
	}
	group, err := g.described(made)
	if err != nil {
		return nil, err
	}
	if len(group.GetSnapshots()) != len(from) {
		return nil, status.Errorf(codes.AlreadyExists, "%s exists and is of other volumes", made.Handle)
	}
	return &csi.CreateVolumeGroupSnapshotResponse{GroupSnapshot: group}, nil
}

func (g groupController) DeleteVolumeGroupSnapshot(
	_ context.Context, request *csi.DeleteVolumeGroupSnapshotRequest,
) (*csi.DeleteVolumeGroupSnapshotResponse, error) {
	if err := g.controller.disk.removeGroup(request.GetGroupSnapshotId()); err != nil {
		return nil, refusal(err)
	}
	return &csi.DeleteVolumeGroupSnapshotResponse{}, nil
}

func (g groupController) GetVolumeGroupSnapshot(
	_ context.Context, request *csi.GetVolumeGroupSnapshotRequest,
) (*csi.GetVolumeGroupSnapshotResponse, error) {
	found, err := g.controller.existing(groups, request.GetGroupSnapshotId())
	if err != nil {
		return nil, err
	}
	group, err := g.described(found)
	if err != nil {
		return nil, err
	}
	return &csi.GetVolumeGroupSnapshotResponse{GroupSnapshot: group}, nil
}

func (g groupController) described(group *record) (*csi.VolumeGroupSnapshot, error) {
	list, err := g.controller.disk.all(snapshots)
	if err != nil {
		return nil, refusal(err)
	}
	answer := &csi.VolumeGroupSnapshot{GroupSnapshotId: group.Handle, CreationTime: timestamppb.New(group.Made), ReadyToUse: true}
	for _, snapshot := range list {
		if snapshot.Group == group.Handle {
			described := g.controller.described(snapshot)
			answer.Snapshots = append(answer.Snapshots, described)
			answer.ReadyToUse = answer.ReadyToUse && described.GetReadyToUse()
		}
	}
	return answer, nil
}
