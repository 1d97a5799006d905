package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clients/kit"
	"clients/operator/api"
)

const definitionName = "harbours." + api.Group

// certificate makes an authority and a certificate of it for 127.0.0.1, as files of the directory; gives the authority.
func certificate(directory string) []byte {
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
	}
	authority := template(1, "conformance")
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	authorityKey := kit.Got(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	authorityBytes := kit.Got(x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey))
	server := template(2, "operator")
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	server.KeyUsage, server.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	key := kit.Got(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	serverBytes := kit.Got(x509.CreateCertificate(rand.Reader, server, authority, &key.PublicKey, authorityKey))
	write := func(name, kind string, bytes []byte) {
		kit.Must(os.WriteFile(filepath.Join(directory, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600))
	}
	write("tls.crt", "CERTIFICATE", serverBytes)
	write("tls.key", "PRIVATE KEY", kit.Got(x509.MarshalPKCS8PrivateKey(key)))
	var bundle bytes.Buffer
	kit.Must(pem.Encode(&bundle, &pem.Block{Type: "CERTIFICATE", Bytes: authorityBytes}))
	return bundle.Bytes()
}

func object(properties map[string]apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
	return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: properties}
}

// definition of the kind: rules in CEL, a status of its own, two versions and a webhook between them.
func definition(url string, bundle []byte) *apiextensionsv1.CustomResourceDefinition {
	text, number := apiextensionsv1.JSONSchemaProps{Type: "string"}, apiextensionsv1.JSONSchemaProps{Type: "integer", Minimum: ptr.To(0.0)}
	spec := object(map[string]apiextensionsv1.JSONSchemaProps{"berths": number, "motto": text, "quay": text})
	spec.Required = []string{"berths"}
	spec.XValidations = apiextensionsv1.ValidationRules{
		{Rule: "self.berths <= 10", Message: "a harbour has at most ten berths"},
		{Rule: "!has(oldSelf.quay) || has(self.quay) && self.quay == oldSelf.quay", Message: "a quay stays where it is"},
		{Rule: "has(self.motto)", MessageExpression: `self.berths > 3 ? "a large harbour needs a motto" : "a harbour needs a motto"`},
	}
	condition := object(map[string]apiextensionsv1.JSONSchemaProps{
		"type": text, "status": text, "reason": text, "message": text, "observedGeneration": number,
		"lastTransitionTime": {Type: "string", Format: "date-time"},
	})
	condition.Required = []string{"type", "status"}
	status := object(map[string]apiextensionsv1.JSONSchemaProps{
		"observedGeneration": number, "ready": number,
		"conditions": {
			Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &condition},
			XListType: ptr.To("map"), XListMapKeys: []string{"type"},
		},
	})
	oldSpec := object(map[string]apiextensionsv1.JSONSchemaProps{"size": number, "motto": text})
	version := func(name string, isStored bool, spec apiextensionsv1.JSONSchemaProps, path string) apiextensionsv1.CustomResourceDefinitionVersion {
		root := object(map[string]apiextensionsv1.JSONSchemaProps{"metadata": {Type: "object"}, "spec": spec, "status": status})
		return apiextensionsv1.CustomResourceDefinitionVersion{
			Name: name, Served: true, Storage: isStored,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &root},
			Subresources: &apiextensionsv1.CustomResourceSubresources{
				Status: &apiextensionsv1.CustomResourceSubresourceStatus{},
				Scale:  &apiextensionsv1.CustomResourceSubresourceScale{SpecReplicasPath: path, StatusReplicasPath: ".status.ready"},
			},
			AdditionalPrinterColumns: []apiextensionsv1.CustomResourceColumnDefinition{
				{Name: "Berths", Type: "integer", JSONPath: path}, {Name: "Ready", Type: "integer", JSONPath: ".status.ready"},
			},
		}
	}
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: definitionName},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: api.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: "Harbour", ListKind: "HarbourList", Plural: "harbours", Singular: "harbour"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{
				version("v1", true, spec, ".spec.berths"), version("v1alpha1", false, oldSpec, ".spec.size"),
			},
			Conversion: &apiextensionsv1.CustomResourceConversion{
				Strategy: apiextensionsv1.WebhookConverter,
				Webhook: &apiextensionsv1.WebhookConversion{
					ConversionReviewVersions: []string{"v1"},
					ClientConfig:             &apiextensionsv1.WebhookClientConfig{URL: ptr.To(url + "/convert"), CABundle: bundle},
				},
			},
		},
	}
}

const path = "-operator-conformance-example-v1-harbour"

func rules(operations ...admissionv1.OperationType) []admissionv1.RuleWithOperations {
	return []admissionv1.RuleWithOperations{{
		Operations: operations,
		Rule:       admissionv1.Rule{APIGroups: []string{api.Group}, APIVersions: []string{"v1"}, Resources: []string{"harbours"}},
	}}
}

// hooks are the configurations of the operator's webhooks: they match requests of either version.
func hooks(url string, bundle []byte) []client.Object {
	to := func(path string) admissionv1.WebhookClientConfig {
		return admissionv1.WebhookClientConfig{URL: ptr.To(url + path), CABundle: bundle}
	}
	equivalent, none, fail := admissionv1.Equivalent, admissionv1.SideEffectClassNone, admissionv1.Fail
	return []client.Object{
		&admissionv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "mutate." + api.Group},
			Webhooks: []admissionv1.MutatingWebhook{{
				Name: "mutate." + api.Group, ClientConfig: to("/mutate" + path), Rules: rules(admissionv1.Create, admissionv1.Update),
				MatchPolicy: &equivalent, SideEffects: &none, FailurePolicy: &fail, TimeoutSeconds: ptr.To(int32(5)),
				AdmissionReviewVersions: []string{"v1"},
				MatchConditions: []admissionv1.MatchCondition{{
					Name: "not-plain", Expression: "!has(object.metadata.labels) || !('plain' in object.metadata.labels)",
				}},
			}},
		},
		&admissionv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "validate." + api.Group},
			Webhooks: []admissionv1.ValidatingWebhook{{
				Name: "validate." + api.Group, ClientConfig: to("/validate" + path),
				Rules:       rules(admissionv1.Create, admissionv1.Update, admissionv1.Delete),
				MatchPolicy: &equivalent, SideEffects: &none, FailurePolicy: &fail, TimeoutSeconds: ptr.To(int32(5)),
				AdmissionReviewVersions: []string{"v1"},
				NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": ns}},
			}},
		},
	}
}

// forget removes what is not of a namespace, and first the harbours: nobody else lets them go.
func forget(ctx context.Context, c client.Client) {
	for _, hook := range append(hooks("https://127.0.0.1:1", nil), away("Fail")) {
		kit.Must(client.IgnoreNotFound(c.Delete(ctx, hook)))
	}
	kit.Eventually(ctx, func() error { return release(ctx, c) })
	kit.Must(client.IgnoreNotFound(c.Delete(ctx, definition("https://127.0.0.1:1", nil))))
	kit.Wait(ctx, "the definition goes", func() bool {
		err := c.Get(ctx, client.ObjectKey{Name: definitionName}, &apiextensionsv1.CustomResourceDefinition{})
		return apierrors.IsNotFound(err)
	})
}

// release takes all harbours away; an error as long as there are some.
func release(ctx context.Context, c client.Client) error {
	if err := c.Get(ctx, client.ObjectKey{Name: definitionName}, &apiextensionsv1.CustomResourceDefinition{}); err != nil {
		return client.IgnoreNotFound(err)
	}
	left := &api.HarbourList{}
	if err := c.List(ctx, left); err != nil {
		return err
	}
	for n := range left.Items {
		free := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
		if err := client.IgnoreNotFound(c.Patch(ctx, &left.Items[n], free)); err != nil {
			return err
		}
		if err := client.IgnoreNotFound(c.Delete(ctx, &left.Items[n])); err != nil {
			return err
		}
	}
	if len(left.Items) > 0 {
		return fmt.Errorf("%d harbours are left", len(left.Items))
	}
	return nil
}

// away is a webhook that nobody answers, for objects with a label.
func away(policy admissionv1.FailurePolicyType) *admissionv1.ValidatingWebhookConfiguration {
	none := admissionv1.SideEffectClassNone
	return &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "away." + api.Group},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "away." + api.Group, Rules: rules(admissionv1.Create), SideEffects: &none, FailurePolicy: &policy,
			ClientConfig:            admissionv1.WebhookClientConfig{URL: ptr.To("https://127.0.0.1:1/")},
			AdmissionReviewVersions: []string{"v1"}, TimeoutSeconds: ptr.To(int32(1)),
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"ask": "away"}},
		}},
	}
}
