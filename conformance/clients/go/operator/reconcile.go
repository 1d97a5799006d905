package main

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"clients/operator/api"
)

const (
	finalizer = api.Group + "/farewell"
	available = "Available"
)

// Reconciler makes a Deployment and a ConfigMap of each harbour, and says farewell when it goes.
type Reconciler struct {
	client.Client
	recorder events.EventRecorder
}

// Reconcile one harbour.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	harbour := &api.Harbour{}
	if err := r.Get(ctx, request.NamespacedName, harbour); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !harbour.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.farewell(ctx, harbour)
	}
	if controllerutil.AddFinalizer(harbour, finalizer) {
		return ctrl.Result{}, r.Update(ctx, harbour)
	}
	if err := r.settings(ctx, harbour); err != nil {
		return ctrl.Result{}, err
	}
	deployment, err := r.deployment(ctx, harbour)
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.tell(ctx, harbour, deployment)
}

// settings are applied by the server, with the harbour as their owner.
func (r *Reconciler) settings(ctx context.Context, harbour *api.Harbour) error {
	owner := metaac.OwnerReference().WithAPIVersion(api.V1.String()).WithKind("Harbour").WithName(harbour.Name).WithUID(harbour.UID).
		WithController(true).WithBlockOwnerDeletion(true)
	wanted := coreac.ConfigMap(harbour.Name, harbour.Namespace).WithOwnerReferences(owner).WithData(map[string]string{"motto": harbour.Spec.Motto})
	return r.Apply(ctx, wanted, client.FieldOwner("harbour-operator"), client.ForceOwnership)
}

func (r *Reconciler) deployment(ctx context.Context, harbour *api.Harbour) (*appsv1.Deployment, error) {
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: harbour.Name, Namespace: harbour.Namespace}}
	labels := map[string]string{"harbour": harbour.Name}
	_, err := controllerutil.CreateOrUpdate(ctx, r.Client, deployment, func() error {
		deployment.Spec.Replicas = &harbour.Spec.Berths
		deployment.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		deployment.Spec.Template.Labels = labels
		deployment.Spec.Template.Spec.TerminationGracePeriodSeconds = ptr.To(int64(1))
		if len(deployment.Spec.Template.Spec.Containers) == 0 {
			deployment.Spec.Template.Spec.Containers = []corev1.Container{{Name: "main", Image: "registry.example/berth:1"}}
		}
		return controllerutil.SetControllerReference(harbour, deployment, r.Scheme())
	})
	return deployment, err
}

func (r *Reconciler) tell(ctx context.Context, harbour *api.Harbour, deployment *appsv1.Deployment) error {
	before := harbour.DeepCopyObject().(*api.Harbour)
	harbour.Status.ObservedGeneration = harbour.Generation
	harbour.Status.Ready = deployment.Status.AvailableReplicas
	isReady := deployment.Status.ObservedGeneration == deployment.Generation && deployment.Status.AvailableReplicas == harbour.Spec.Berths
	condition := metav1.Condition{Type: available, Status: metav1.ConditionFalse, Reason: "Building", ObservedGeneration: harbour.Generation}
	if isReady {
		condition.Status, condition.Reason = metav1.ConditionTrue, "Built"
	}
	condition.Message = fmt.Sprintf("%d of %d berths", harbour.Status.Ready, harbour.Spec.Berths)
	if meta.SetStatusCondition(&harbour.Status.Conditions, condition) && isReady {
		r.recorder.Eventf(harbour, nil, corev1.EventTypeNormal, "Built", "Build", "%s", condition.Message)
	}
	return r.Status().Patch(ctx, harbour, client.MergeFrom(before))
}

func (r *Reconciler) farewell(ctx context.Context, harbour *api.Harbour) error {
	if !controllerutil.ContainsFinalizer(harbour, finalizer) {
		return nil
	}
	note := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "farewell-" + harbour.Name, Namespace: harbour.Namespace}}
	if err := r.Create(ctx, note); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	before := harbour.DeepCopyObject().(*api.Harbour)
	controllerutil.RemoveFinalizer(harbour, finalizer)
	return client.IgnoreNotFound(r.Patch(ctx, harbour, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}

// Defaults gives a harbour its motto.
type Defaults struct{}

// Default sets what is missing.
func (Defaults) Default(ctx context.Context, harbour *api.Harbour) error {
	request, err := admission.RequestFromContext(ctx)
	if err != nil {
		return err
	}
	if harbour.Spec.Motto == "" {
		harbour.Spec.Motto = "safe, said " + request.UserInfo.Username
	}
	if request.Kind.Version != "v1" {
		return errors.New("was given another version than it asked for")
	}
	return nil
}

// Judge refuses some mottos and some deletions.
type Judge struct{}

// ValidateCreate judges a new harbour.
func (Judge) ValidateCreate(_ context.Context, harbour *api.Harbour) (admission.Warnings, error) {
	switch harbour.Spec.Motto {
	case "storm":
		return nil, errors.New("no storms in harbours")
	case "fog":
		return admission.Warnings{"fog is expected"}, nil
	}
	return nil, nil
}

// ValidateUpdate judges a changed harbour.
func (j Judge) ValidateUpdate(ctx context.Context, old, harbour *api.Harbour) (admission.Warnings, error) {
	if old.UID != harbour.UID {
		return nil, errors.New("was given another object as the old one")
	}
	return j.ValidateCreate(ctx, harbour)
}

// ValidateDelete keeps what is marked.
func (Judge) ValidateDelete(_ context.Context, harbour *api.Harbour) (admission.Warnings, error) {
	if harbour.Annotations["keep"] != "" {
		return nil, errors.New("this harbour is to be kept")
	}
	return nil, nil
}
